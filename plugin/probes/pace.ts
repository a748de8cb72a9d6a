// How often one kind of probe is tried: its breaker, and when it is tried again after it failed. A failed probe is repeated after
// 10 s (±25 %) even where the schedule would wait longer, so that what was mended shows soon. Pure.

import { afterFailure, type Breaker, closedBreaker, halfOpened, isOpen, pauseAfterFailureMs } from './breaker.ts';

/** Times are of the monotonic clock. */
export type Pace = {
  readonly breaker: Breaker;
  /** Undefined while the last probe of the kind succeeded, or when nothing can be tried. */
  readonly retryAtMs: number | undefined;
  /** When the last probe of the kind began. */
  readonly startedAtMs: number;
};

export const freshPace: Pace = { breaker: closedBreaker, retryAtMs: undefined, startedAtMs: Number.NEGATIVE_INFINITY };

/** A probe that a call brings forward begins at least this long after the one before. */
const forwardSpacingMs = 5_000;

export function started(pace: Pace, nowMs: number): Pace {
  return { ...pace, startedAtMs: nowMs };
}

export function succeeded(pace: Pace): Pace {
  return { ...pace, breaker: closedBreaker, retryAtMs: undefined };
}

export type FailedProbe = {
  readonly random: number;
  /** Only failures of OpenBao count; what it answered well and we do not accept does not. */
  readonly isCounted: boolean;
  readonly waitMs: number;
};

export function failed(pace: Pace, nowMs: number, probe: FailedProbe): Pace {
  const retryAtMs = nowMs + pauseAfterFailureMs(probe.random);
  const breaker = probe.isCounted ? afterFailure(pace.breaker, nowMs, retryAtMs, probe.waitMs) : pace.breaker;
  return { ...pace, breaker, retryAtMs };
}

/** Nothing could be tried: the schedule alone decides when to look again. */
export function idle(pace: Pace): Pace {
  return { ...pace, retryAtMs: undefined };
}

export function answeredWell(pace: Pace): Pace {
  return { ...pace, breaker: halfOpened(pace.breaker) };
}

export function isPaused(pace: Pace, nowMs: number): boolean {
  return isOpen(pace.breaker, nowMs);
}

/**
 * When the next probe of the kind begins.
 *
 * @param tickMs  what the schedule says
 * @param isWanted  whether a call brings it forward
 */
export function dueAtMs(pace: Pace, tickMs: number, isWanted: boolean): number {
  const wantedMs = isWanted ? pace.startedAtMs + forwardSpacingMs : Number.POSITIVE_INFINITY;
  const plannedMs = Math.min(tickMs, pace.retryAtMs ?? Number.POSITIVE_INFINITY, wantedMs);
  return Math.max(plannedMs, pace.breaker.openUntilMs); // control: pace.breaker
}
