// A piece of work with a time limit of its own, below the signal of whoever asked for it.

import { ProviderError } from '../../shared/errors/error.ts';
import type { Clock } from '../../shared/time/clock.ts';

/** @throws what `run` throws; its signal ends with a ProviderError `timeout`, or with the reason of the outer signal */
export async function bounded<T>(
  clock: Pick<Clock, 'after'>,
  limitMs: number,
  signal: AbortSignal,
  run: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const leave = () => controller.abort(signal.reason);
  signal.throwIfAborted();
  signal.addEventListener('abort', leave, { once: true });
  const cancel = clock.after(limitMs, () => controller.abort(new ProviderError('timeout', 'the probe took too long')));
  try {
    return await run(controller.signal);
  } finally {
    cancel();
    signal.removeEventListener('abort', leave);
  }
}
