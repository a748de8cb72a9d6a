// A circuit breaker for probes: after three counted failures none is tried until its pause is over. Then one try decides; so it
// does at once when OpenBao answers something else well. Success closes it. It never touches Encrypt or Decrypt.

import { jitterMs } from '../../shared/time/backoff.ts';

const failuresToOpen = 3; // control: breaker.failures
/** A mended fault has to show within 15 s: the pause and its spread, and the probes after it. */
const pauseMs = 10_000;
const maxPauseMs = 12_500;

export type Breaker = { readonly failures: number; readonly openUntilMs: number };
export const closedBreaker: Breaker = { failures: 0, openUntilMs: 0 };

export function isOpen(breaker: Breaker, nowMs: number): boolean {
  return nowMs < breaker.openUntilMs; // control: breaker.pause
}

export type BreakerState = 'closed' | 'half_open' | 'open';

/** `half_open`: its time is over, and the next failure opens it again at once. */
export function stateOf(breaker: Breaker, nowMs: number): BreakerState {
  if (isOpen(breaker, nowMs)) return 'open';
  return breaker.failures >= failuresToOpen ? 'half_open' : 'closed';
}

/** How long to leave OpenBao alone after a failed probe: 10 s, spread by 25 %. */
export function pauseAfterFailureMs(random: number): number {
  return jitterMs(pauseMs, random, maxPauseMs);
}

/**
 * @param untilMs  when the pause of this failure ends
 * @param waitMs  what the server asked for, if it did; no longer than the pause
 */
export function afterFailure(breaker: Breaker, nowMs: number, untilMs: number, waitMs = 0): Breaker {
  const failures = breaker.failures + 1;
  if (failures >= failuresToOpen) return { failures, openUntilMs: untilMs };
  return { failures, openUntilMs: waitMs > 0 ? Math.min(nowMs + waitMs, untilMs) : breaker.openUntilMs };
}

/** OpenBao answered something else well: the next probe may try at once. What was counted stays. */
export function halfOpened(breaker: Breaker): Breaker {
  return { failures: breaker.failures, openUntilMs: 0 };
}
