// A limit in time, together with the caller's signal, as one signal.

import type { ProviderError } from '../../shared/errors/error.ts';
import type { Clock } from '../../shared/time/clock.ts';

export type Limits = {
  readonly timeoutMs: number;
  /** Ends the work with the signal's reason, a ProviderError `canceled` or `timeout`. */
  readonly signal?: AbortSignal;
};

/**
 * Runs with a signal that ends at the limit or with the caller's signal, whichever comes first.
 *
 * @param late  the reason when it was the limit
 * @throws whatever the work throws, or the reason of the caller's signal if that has ended before
 */
export async function withDeadline<T>(
  limits: Limits,
  late: () => ProviderError,
  clock: Clock,
  run: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  if (limits.signal?.aborted) throw limits.signal.reason;
  const controller = new AbortController();
  const leave = () => controller.abort(limits.signal?.reason);
  limits.signal?.addEventListener('abort', leave, { once: true });
  const cancel = clock.after(limits.timeoutMs, () => controller.abort(late()));
  try {
    return await run(controller.signal);
  } finally {
    cancel();
    limits.signal?.removeEventListener('abort', leave);
  }
}

/**
 * Waits without owning: the work goes on when the signal ends the wait.
 *
 * @throws what the work throws, or the signal's reason
 */
export function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const leave = () => reject(signal.reason);
    if (signal.aborted) leave();
    signal.addEventListener('abort', leave, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', leave));
  });
}

/** Waits for so long, or until the signal ends. */
export function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const settle = () => {
      cancel();
      signal.removeEventListener('abort', settle);
      resolve();
    };
    const cancel = clock.after(ms, settle);
    signal.addEventListener('abort', settle, { once: true });
    if (signal.aborted) settle();
  });
}
