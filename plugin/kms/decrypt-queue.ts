// Decrypts that wait: identical calls share one OpenBao call, distinct ones take a slot or wait their turn within their
// deadline. A refused Decrypt fails somebody's request, so refusing is the last resort (architecture 12).
// This is also the one place that turns admitted Decrypts into calls.

import { ProviderError } from '../../shared/errors/error.ts';
import type { Cancel, Clock } from '../../shared/time/clock.ts';

export type DecryptQueueOptions = {
  readonly clock: Pick<Clock, 'after' | 'nowMs'>;
  /** Distinct OpenBao calls at a time. */
  readonly slots: number;
  /** Distinct calls that may wait. */
  readonly greatestWaiting: number;
  /** A call that has not begun this long before its deadline cannot be met any more. */
  readonly marginMs: number;
};

export type DecryptCall = {
  /** Equal for calls that must have equal answers: ciphertext, key_id and annotations. */
  readonly identity: string;
  readonly deadlineMs: number;
  readonly signal: AbortSignal;
  readonly run: (signal: AbortSignal) => Promise<Buffer>;
};

type Shared = {
  readonly identity: string;
  readonly run: DecryptCall['run'];
  readonly controller: AbortController;
  readonly answer: PromiseWithResolvers<Buffer>;
  hasBegun: boolean;
  isSettled: boolean;
  waiters: number;
};

export class DecryptQueue {
  readonly #options: DecryptQueueOptions;
  readonly #byIdentity = new Map<string, Shared>();
  readonly #waiting: Shared[] = [];
  #running = 0;

  constructor(options: DecryptQueueOptions) {
    this.#options = options;
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
    const isFull = this.#running >= this.#options.slots && this.#waiting.length >= this.#options.greatestWaiting;
    if (isFull) throw refused();
    const shared: Shared = {
      identity: call.identity,
      run: call.run,
      controller: new AbortController(),
      answer: Promise.withResolvers<Buffer>(),
      hasBegun: false,
      isSettled: false,
      waiters: 0,
    };
    shared.answer.promise.catch(() => undefined);
    this.#byIdentity.set(call.identity, shared);
    if (this.#running < this.#options.slots) this.#begin(shared);
    else this.#waiting.push(shared);
    return shared;
  }

  #begin(shared: Shared): void {
    shared.hasBegun = true;
    this.#running += 1;
    const settled = shared.run(shared.controller.signal).then(shared.answer.resolve, shared.answer.reject);
    void settled.finally(() => {
      shared.isSettled = true;
      this.#forget(shared);
      this.#running -= 1;
      const next = this.#waiting.shift();
      if (next !== undefined) this.#begin(next);
    });
  }

  #wait(shared: Shared, call: DecryptCall): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const leave = () => settle(() => reject(call.signal.reason));
      const cancel = this.#watchDeadline(shared, call, () => settle(() => reject(refused())));
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
    const index = this.#waiting.indexOf(shared);
    if (index >= 0) this.#waiting.splice(index, 1);
    this.#forget(shared);
    if (!shared.isSettled)
      shared.controller.abort(new ProviderError('canceled', 'nobody waits for this call any more'));
    void shared.answer.promise.then((plaintext) => plaintext.fill(0)).catch(() => undefined);
  }

  #forget(shared: Shared): void {
    if (this.#byIdentity.get(shared.identity) === shared) this.#byIdentity.delete(shared.identity);
  }
}

function refused(): ProviderError {
  return new ProviderError('concurrency_limit', 'kms request concurrency limit reached');
}
