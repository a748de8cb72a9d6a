// A bounded amount of something, shared fairly between connections: when it is used up, the one that has most of it gives way to
// one that has less, so that a stranger who fills it refuses nobody but himself.

import { ProviderError } from '../../shared/errors/error.ts';

export type FairShareOptions = {
  /** What can be had at a time: calls, or bytes. */
  readonly capacity: number;
  /** `always`: whatever can be lost makes room, the oldest first; `fairly`: only for one who has less, the newest first. */
  readonly yields: 'always' | 'fairly';
  /** Hears of each time that somebody lost his part or was refused. */
  readonly reached?: () => void;
};

/** One part that was taken. */
export type Share = {
  /** From now on it cannot be lost. @throws ProviderError `concurrency_limit` when it was lost before */
  readonly keep: () => void;
  /** Gives it back; more than once does nothing. */
  readonly release: () => void;
};

/** In a list in the order of taking: a flood is refused a thousand times a second, so no step may grow with what is held. */
type Part = {
  readonly size: number;
  readonly lose: () => void;
  /** Whose it is, as long as it can be lost. */
  owner: Owner | undefined;
  older: Part | undefined;
  newer: Part | undefined;
};
type Owner = { readonly connection: object; size: number; oldest: Part | undefined; newest: Part | undefined };

export class FairShare {
  readonly #options: FairShareOptions;
  /** What can be lost, by connection, each in the order of taking. */
  readonly #owners = new Map<object, Owner>();
  #used = 0;

  constructor(options: FairShareOptions) {
    this.#options = options;
  }

  get used(): number {
    return this.#used;
  }

  /**
   * Takes a part without waiting.
   *
   * @param connection  whose part it is
   * @param lose  is called when somebody else needs it more; the part is gone by then
   * @throws ProviderError `concurrency_limit`
   */
  take(connection: object, size: number, lose: () => void): Share {
    while (this.#used + size > this.#options.capacity) {
      const victim = this.#victim(connection, size);
      this.#options.reached?.();
      if (victim === undefined) throw concurrencyLimit();
      this.#remove(victim);
      this.#used -= victim.size;
      victim.lose();
    }
    const part: Part = { size, lose, owner: undefined, older: undefined, newer: undefined };
    this.#add(connection, part);
    let isHeld = true;
    return {
      keep: () => {
        if (!this.#remove(part)) throw concurrencyLimit();
        isHeld = false;
        this.#kept.add(part);
      },
      release: () => {
        if (isHeld ? this.#remove(part) : this.#kept.delete(part)) this.#used -= size;
      },
    };
  }

  readonly #kept = new Set<Part>();

  #victim(connection: object, size: number): Part | undefined {
    let greatest: Owner | undefined;
    for (const owner of this.#owners.values()) {
      if (greatest === undefined || owner.size > greatest.size) greatest = owner;
    }
    // control: fair-share.always
    if (greatest === undefined || this.#options.yields === 'always') return greatest?.oldest;
    const isFair = greatest.size > (this.#owners.get(connection)?.size ?? 0) + size;
    return isFair ? greatest.newest : undefined; // control: fair-share.greatest-yields
  }

  #add(connection: object, part: Part): void {
    const owner = this.#owners.get(connection) ?? { connection, size: 0, oldest: undefined, newest: undefined };
    this.#owners.set(connection, owner);
    part.owner = owner;
    part.older = owner.newest;
    if (owner.newest === undefined) owner.oldest = part;
    else owner.newest.newer = part;
    owner.newest = part;
    owner.size += part.size;
    this.#used += part.size;
  }

  /** @returns whether it could still be lost */
  #remove(part: Part): boolean {
    const { owner, older, newer } = part;
    if (owner === undefined) return false;
    if (older === undefined) owner.oldest = newer;
    else older.newer = newer;
    if (newer === undefined) owner.newest = older;
    else newer.older = older;
    part.owner = undefined;
    part.older = undefined;
    part.newer = undefined;
    owner.size -= part.size;
    if (owner.oldest === undefined) this.#owners.delete(owner.connection);
    return true;
  }
}

export function concurrencyLimit(): ProviderError {
  return new ProviderError('concurrency_limit', 'kms request concurrency limit reached');
}
