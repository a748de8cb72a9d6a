// Who is next: the oldest of the connection that has the fewest running, so that nobody waits behind all that a stranger has asked
// for. Those that go on their own come before everybody: they have had their turn once.

/** One that waits, or runs. */
export type InLine = {
  /** Whose it is. */
  readonly connection: object;
};

type Place<T> = { readonly one: T; readonly number: number };

export class WaitingLine<T extends InLine> {
  readonly #byConnection = new Map<object, Map<T, Place<T>>>();
  /** What runs, by connection. */
  readonly #running = new Map<object, number>();
  #size = 0;
  #nextNumber = 0;

  get size(): number {
    return this.#size;
  }

  add(one: T): void {
    let places = this.#byConnection.get(one.connection);
    if (places === undefined) {
      places = new Map();
      this.#byConnection.set(one.connection, places);
    }
    places.set(one, { one, number: this.#nextNumber++ });
    this.#size += 1;
  }

  /** Does nothing for one that does not wait. */
  remove(one: T): void {
    const places = this.#byConnection.get(one.connection);
    if (places?.delete(one) !== true) return;
    this.#size -= 1;
    if (places.size === 0) this.#byConnection.delete(one.connection);
  }

  /** Takes up to so many out of the line; each counts as running until `ended`. */
  begin(most: number): T[] {
    const begun: T[] = [];
    while (begun.length < most) {
      const next = this.#next();
      if (next === undefined) break;
      this.remove(next);
      this.began(next);
      begun.push(next);
    }
    return begun;
  }

  /** Runs without having waited. */
  began({ connection }: T): void {
    this.#running.set(connection, (this.#running.get(connection) ?? 0) + 1);
  }

  ended({ connection }: T): void {
    const running = (this.#running.get(connection) ?? 0) - 1;
    if (running > 0) this.#running.set(connection, running);
    else this.#running.delete(connection);
  }

  #next(): T | undefined {
    let next: Place<T> | undefined;
    let fewest = Number.POSITIVE_INFINITY;
    for (const [connection, places] of this.#byConnection) {
      const running = this.#running.get(connection) ?? 0;
      if (running > fewest) continue; // control: decrypt.fewest-running
      const [oldest] = places.values();
      if (oldest === undefined || (running === fewest && next !== undefined && oldest.number > next.number)) continue;
      next = oldest;
      fewest = running;
    }
    return next?.one;
  }
}
