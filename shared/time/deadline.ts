// Limits in time beside the signal of whoever asked: work with a deadline, a wait that owns nothing, a pause. Each ends at once when
// the signal has ended before, and leaves no listener behind.

import type { ProviderError } from '../errors/error.ts';
import type { Cancel, Clock } from './clock.ts';

export type Limits = {
  /** Infinity: no limit of its own. */
  readonly timeoutMs: number;
  /** Ends the work with the signal's reason, a ProviderError `canceled` or `timeout`. */
  readonly signal?: AbortSignal | undefined;
};

/**
 * Runs with a signal that ends at the limit or with the caller's signal, whichever comes first.
 *
 * @param late  the reason when it was the limit
 * @throws whatever the work throws, or the reason of the caller's signal if that has ended before
 */
export async function withDeadline<T>(
  { timeoutMs, signal }: Limits,
  late: () => ProviderError,
  clock: Pick<Clock, 'after'>,
  run: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted();
  const controller = new AbortController();
  const leave = () => controller.abort(signal?.reason);
  signal?.addEventListener('abort', leave, { once: true });
  const cancel = Number.isFinite(timeoutMs)
    ? clock.after(Math.max(0, timeoutMs), () => controller.abort(late()))
    : () => {};
  try {
    return await run(controller.signal);
  } finally {
    cancel();
    signal?.removeEventListener('abort', leave);
  }
}

/**
 * Waits without owning: the work goes on when the signal ends the wait.
 *
 * @throws what the work throws, or the signal's reason
 */
export async function untilAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  return new Promise((resolve, reject) => {
    const leave = () => reject(signal.reason);
    if (signal.aborted) leave();
    signal.addEventListener('abort', leave, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', leave));
  });
}

/**
 * Waits for so long, or until the signal ends; throws in neither case.
 *
 * @param takeWake  gets what ends the pause early
 */
export function pause(
  clock: Pick<Clock, 'after'>,
  ms: number,
  signal?: AbortSignal,
  takeWake: (wake: Cancel) => void = () => {},
): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = () => {
      cancel();
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const cancel = clock.after(Math.max(0, ms), done);
    signal?.addEventListener('abort', done, { once: true });
    takeWake(done);
  });
}
