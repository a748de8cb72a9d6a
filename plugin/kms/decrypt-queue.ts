// Decrypts that wait: identical calls share one OpenBao call, distinct ones take a slot or wait their turn within their
// deadline. A refused Decrypt fails somebody's request, so refusing is the last resort (spec/kms 4.2). Connections take turns:
// the one with the fewest calls running is next, so that nobody waits behind all that a stranger has asked for.
// This is also the one place that turns admitted Decrypts into calls.

import { ProviderError } from '../../shared/errors/error.ts';
import type { Cancel, Clock } from '../../shared/time/clock.ts';
import { concurrencyLimit, FairShare, type Share } from './fair-share.ts';

export type DecryptQueueOptions = {
  readonly clock: Pick<Clock, 'after' | 'nowMs'>;
  /** Distinct OpenBao calls at a time. */
  readonly slots: number;
  /** Distinct calls that may wait. */
  readonly maxWaiting: number;
  /** A call that has not begun this long before its deadline cannot be met any more. */
  readonly marginMs: number;
  /** Hears that the queue was full. */
  readonly full?: () => void;
};

export type DecryptCall = {
  /** Equal for calls that must have equal answers: a hash of ciphertext, key_id and annotations. */
  readonly identity: string;
  /** Whose call it is. */
  readonly connection: object;
  readonly deadlineMs: number;
  readonly signal: AbortSignal;
  readonly run: (signal: AbortSignal) => Promise<Buffer>;
};

type Shared = {
  readonly identity: string;
  readonly connection: object;
  readonly run: DecryptCall['run'];
  readonly controller: AbortController;
  readonly answer: PromiseWithResolvers<Buffer>;
  hasBegun: boolean;
  isSettled: boolean;
  waiters: number;
  /** Its place among those that wait. */
  place: Share | undefined;
};

export class DecryptQueue {
  readonly #options: DecryptQueueOptions;
  readonly #byIdentity = new Map<string, Shared>();
  readonly #waiting: Shared[] = [];
  readonly #places: FairShare;
  /** Calls that run, by connection. */
  readonly #runningOf = new Map<object, number>();
  #running = 0;

  constructor(options: DecryptQueueOptions) {
    this.#options = options;
    this.#places = new FairShare({
      capacity: options.maxWaiting,
      yields: 'fairly',
      ...(options.full === undefined ? {} : { reached: options.full }),
    });
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /**
   * The plaintext, a copy of the caller's own.
   *
   * @throws ProviderError `concurrency_limit` when the queue is full or the deadline cannot be met; the signal's reason;
   *   what `run` throws
   */
  async decrypt(call: DecryptCall): Promise<Buffer> {
    const shared = this.#byIdentity.get(call.identity) ?? this.#admit(call);
    shared.waiters += 1;
    try {
      return Buffer.from(await this.#wait(shared, call));
    } finally {
      this.#left(shared);
    }
  }

  #admit(call: DecryptCall): Shared {
    const shared: Shared = {
      identity: call.identity,
      connection: call.connection,
      run: call.run,
      controller: new AbortController(),
      answer: Promise.withResolvers<Buffer>(),
      hasBegun: false,
      isSettled: false,
      waiters: 0,
      place: undefined,
    };
    shared.answer.promise.catch(() => undefined);
    // control: decrypt.slots
    if (this.#running >= this.#options.slots) {
      shared.place = this.#places.take(call.connection, 1, () => this.#giveWay(shared));
      this.#waiting.push(shared);
    }
    this.#byIdentity.set(call.identity, shared);
    if (shared.place === undefined) this.#begin(shared);
    return shared;
  }

  /** Somebody with fewer calls needs its place. */
  #giveWay(shared: Shared): void {
    this.#stopWaiting(shared);
    this.#forget(shared);
    shared.isSettled = true;
    shared.answer.reject(concurrencyLimit());
  }

  #stopWaiting(shared: Shared): void {
    const index = this.#waiting.indexOf(shared);
    if (index >= 0) this.#waiting.splice(index, 1);
    shared.place?.release();
  }

  /** The oldest of the connection with the fewest running. */
  #next(): Shared | undefined {
    let next: Shared | undefined;
    let fewest = Number.POSITIVE_INFINITY;
    for (const shared of this.#waiting) {
      const running = this.#runningOf.get(shared.connection) ?? 0;
      if (running >= fewest) continue; // control: decrypt.fewest-running
      next = shared;
      fewest = running;
      if (fewest === 0) break;
    }
    return next;
  }

  #countRunning(connection: object, change: 1 | -1): void {
    this.#running += change;
    const running = (this.#runningOf.get(connection) ?? 0) + change;
    if (running === 0) this.#runningOf.delete(connection);
    else this.#runningOf.set(connection, running);
  }

  #begin(shared: Shared): void {
    this.#stopWaiting(shared);
    shared.hasBegun = true;
    this.#countRunning(shared.connection, 1);
    const settled = shared.run(shared.controller.signal).then(shared.answer.resolve, shared.answer.reject);
    void settled.finally(() => {
      shared.isSettled = true;
      this.#forget(shared);
      this.#countRunning(shared.connection, -1);
      const next = this.#next();
      if (next !== undefined) this.#begin(next);
    });
  }

  #wait(shared: Shared, call: DecryptCall): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const leave = () => settle(() => reject(call.signal.reason));
      const cancel = this.#watchDeadline(shared, call, () => settle(() => reject(concurrencyLimit())));
      const settle = (tell: () => void) => {
        cancel();
        call.signal.removeEventListener('abort', leave);
        tell();
      };
      if (call.signal.aborted) return leave();
      call.signal.addEventListener('abort', leave, { once: true });
      shared.answer.promise.then(
        (plaintext) => settle(() => resolve(plaintext)),
        (error: unknown) => settle(() => reject(error)),
      );
    });
  }

  #watchDeadline(shared: Shared, call: DecryptCall, expire: () => void): Cancel {
    if (shared.hasBegun) return () => {};
    const leftMs = call.deadlineMs - this.#options.marginMs - this.#options.clock.nowMs();
    return this.#options.clock.after(Math.max(0, leftMs), () => {
      if (!shared.hasBegun) expire();
    });
  }

  #left(shared: Shared): void {
    shared.waiters -= 1;
    if (shared.waiters > 0) return;
    this.#stopWaiting(shared);
    this.#forget(shared);
    if (!shared.isSettled)
      shared.controller.abort(new ProviderError('canceled', 'nobody waits for this call any more'));
    void shared.answer.promise.then((plaintext) => plaintext.fill(0)).catch(() => undefined); // control: decrypt.wipe
  }

  #forget(shared: Shared): void {
    if (this.#byIdentity.get(shared.identity) === shared) this.#byIdentity.delete(shared.identity);
  }
}
