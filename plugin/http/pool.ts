// Connections to OpenBao: who uses one, who waits for one, and when one ends. A connection serves one call at a time. Knows
// nothing of HTTP; what an answer means for a connection is said by the one who asks.

import type { Cancel, Clock } from '../../shared/time/clock.ts';

/** What the pool must know of a connection. */
export type Pooled = {
  readonly peer: string;
  readonly isOpen: () => boolean;
  readonly close: () => void;
  readonly onClosed: (run: () => void) => void;
};

export type PoolOptions<C> = {
  readonly open: (signal: AbortSignal) => Promise<C>;
  readonly clock: Clock;
  /** 0 up to but not including 1. */
  readonly random: () => number;
  /** Connections at a time, those that are being opened included. */
  readonly connections: number;
};

/** So that a balancer can spread its clients again after a fail-over: 10 min, ± 10 %. */
const lifeMs = { least: 540_000, spread: 120_000 };
/** OpenBao closes a connection that has sent nothing for 10 s. */
const unusedMs = 5_000;
/** One that is being opened for so long is not counted on any more; it may still come, for others. */
const promisingMs = 2_000;

type Waiter<C> = {
  readonly isFresh: boolean;
  readonly resolve: (connection: C) => void;
  readonly reject: (error: unknown) => void;
};
type Member = { isExpired: boolean; isUsed: boolean; lastGoodAtMs: number; readonly cancels: Cancel[] };

export class Pool<C extends Pooled> {
  readonly #options: PoolOptions<C>;
  readonly #members = new Map<C, Member>();
  /** The last one used stands last and is used first, so that few stay warm. */
  readonly #idle: C[] = [];
  readonly #waiters: Waiter<C>[] = [];
  readonly #closed = new AbortController();
  #opening = 0;
  #promising = 0;

  constructor(options: PoolOptions<C>) {
    this.#options = options;
  }

  /**
   * Waits for a connection; whoever gets one gives it back with `release` or `discard`.
   *
   * @param isFresh  one that has carried no request yet
   * @throws what `open` throws, or the signal's reason
   */
  acquire(signal: AbortSignal, isFresh = false): Promise<C> {
    if (signal.aborted) return Promise.reject(signal.reason);
    const idle = isFresh ? undefined : this.#takeIdle();
    if (idle !== undefined) return Promise.resolve(idle);
    return new Promise<C>((resolve, reject) => {
      const settle = () => signal.removeEventListener('abort', leave);
      const waiter: Waiter<C> = {
        isFresh,
        resolve: (connection) => {
          settle();
          resolve(connection);
        },
        reject: (error) => {
          settle();
          reject(error);
        },
      };
      const leave = () => {
        this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
        reject(signal.reason);
      };
      signal.addEventListener('abort', leave, { once: true });
      // Who asks for a fresh one has waited before.
      if (isFresh) this.#waiters.unshift(waiter);
      else this.#waiters.push(waiter);
      this.#fill();
    });
  }

  /** @param isGood  it has just carried an answer of a node that serves */
  release(connection: C, isGood = true): void {
    const member = this.#members.get(connection);
    if (member === undefined) return;
    member.isUsed = true;
    if (isGood) member.lastGoodAtMs = this.#options.clock.nowMs();
    if (member.isExpired || !connection.isOpen() || this.#closed.signal.aborted) return this.discard(connection);
    this.#offer(connection, member);
  }

  discard(connection: C): void {
    this.#forget(connection);
    connection.close();
    this.#fill();
  }

  /**
   * Closes the idle connections to an address.
   *
   * @param sinceMs  spares those that carried a good answer after this moment
   * @returns how many
   */
  closeIdle(peer: string, sinceMs = Number.POSITIVE_INFINITY): number {
    const suspects = this.#idle.filter(
      (connection) => connection.peer === peer && (this.#members.get(connection)?.lastGoodAtMs ?? 0) < sinceMs,
    );
    for (const connection of suspects) this.discard(connection);
    return suspects.length;
  }

  /** Ends every connection, and all that is being opened. */
  close(): void {
    this.#closed.abort(new Error('the pool is closed'));
    for (const connection of [...this.#members.keys()]) this.discard(connection);
  }

  #takeIdle(): C | undefined {
    for (let connection = this.#idle.pop(); connection !== undefined; connection = this.#idle.pop()) {
      if (connection.isOpen()) return connection;
      this.#forget(connection);
    }
    return undefined;
  }

  #offer(connection: C, member: Member): void {
    const at = this.#waiters.findIndex(({ isFresh }) => !isFresh || !member.isUsed);
    const [waiter] = at < 0 ? [] : this.#waiters.splice(at, 1);
    if (waiter === undefined) this.#idle.push(connection);
    else waiter.resolve(connection);
    this.#fill();
  }

  /** As many are opened as are waited for, within the limit; for a fresh one an idle one makes room. */
  #fill(): void {
    while (this.#waiters.length > this.#promising && !this.#closed.signal.aborted) {
      if (this.#members.size + this.#opening >= this.#options.connections && !this.#makeRoom()) return;
      void this.#open();
    }
  }

  #makeRoom(): boolean {
    const oldest = this.#idle.shift();
    if (oldest === undefined) return false;
    this.#forget(oldest);
    oldest.close();
    return true;
  }

  async #open(): Promise<void> {
    const { open, clock } = this.#options;
    let isPromising = true;
    const giveUp = () => {
      if (isPromising) this.#promising -= 1;
      isPromising = false;
    };
    this.#opening += 1;
    this.#promising += 1;
    const cancel = clock.after(promisingMs, () => {
      giveUp();
      this.#fill();
    });
    try {
      const connection = await open(this.#closed.signal);
      this.#add(connection);
    } catch (error) {
      giveUp();
      // Somebody who waits learns why, unless enough others are on their way.
      if (this.#waiters.length > this.#promising) this.#waiters.shift()?.reject(error);
    } finally {
      cancel();
      giveUp();
      this.#opening -= 1;
      this.#fill();
    }
  }

  #add(connection: C): void {
    const { clock, random } = this.#options;
    const member: Member = { isExpired: false, isUsed: false, lastGoodAtMs: 0, cancels: [] };
    this.#members.set(connection, member);
    const endIdle = () => {
      if (this.#idle.includes(connection)) this.discard(connection);
    };
    const expire = () => {
      member.isExpired = true;
      endIdle();
    };
    const closeUnused = () => {
      if (!member.isUsed) endIdle();
    };
    member.cancels.push(
      clock.after(lifeMs.least + lifeMs.spread * random(), expire), // control: pool.life-spread
      clock.after(unusedMs, closeUnused),
    );
    connection.onClosed(() => {
      this.#forget(connection);
      this.#fill();
    });
    if (this.#closed.signal.aborted || !connection.isOpen()) return this.discard(connection);
    this.#offer(connection, member);
  }

  #forget(connection: C): void {
    for (const cancel of this.#members.get(connection)?.cancels ?? []) cancel();
    this.#members.delete(connection);
    const at = this.#idle.indexOf(connection);
    if (at >= 0) this.#idle.splice(at, 1);
  }
}
