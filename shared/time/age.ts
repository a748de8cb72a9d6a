// The age of a piece of evidence, such that no change of the wall clock makes it younger.
// The greater of monotonic and wall age counts, and the greatest age ever seen sticks.

import type { Clock } from './clock.ts';

export type Age = {
  /** Milliseconds since the mark, never less than at an earlier call. */
  readonly ageMs: () => number;
};

/**
 * Starts to measure an age at this moment, or at an earlier reading of the same clock.
 *
 * @param since  readings taken when the evidence began; now, if left out
 */
export function startAge(clock: Pick<Clock, 'nowMs' | 'wallMs'>, since: Reading = readClock(clock)): Age {
  let maxMs = 0;
  return {
    ageMs: () => {
      maxMs = Math.max(maxMs, clock.nowMs() - since.nowMs, clock.wallMs() - since.wallMs);
      return maxMs;
    },
  };
}

/** Both clocks at one moment. */
export type Reading = { readonly nowMs: number; readonly wallMs: number };

export function readClock(clock: Pick<Clock, 'nowMs' | 'wallMs'>): Reading {
  return { nowMs: clock.nowMs(), wallMs: clock.wallMs() };
}
