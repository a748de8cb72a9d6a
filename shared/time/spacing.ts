// How often a thing may be said.

import type { Clock } from './clock.ts';

/**
 * For what may be said now and then only.
 *
 * @returns a function that is true at most once in `intervalMs`, the first time at once
 */
export function createSpacing({ nowMs }: Pick<Clock, 'nowMs'>, intervalMs: number): () => boolean {
  let saidAtMs = Number.NEGATIVE_INFINITY;
  return () => {
    if (nowMs() - saidAtMs < intervalMs) return false; // control: spacing.interval
    saidAtMs = nowMs();
    return true;
  };
}
