// A circuit breaker for probes: after three counted failures none is tried for 30 s. Success closes it; when the 30 s are
// over one try decides. It never touches Encrypt or Decrypt (status-and-probes 6).

const failuresToOpen = 3;
const openMs = 30_000;

export type Breaker = { readonly failures: number; readonly openUntilMs: number };
export const closedBreaker: Breaker = { failures: 0, openUntilMs: 0 };

export function isOpen(breaker: Breaker, nowMs: number): boolean {
  return nowMs < breaker.openUntilMs;
}

export type BreakerState = 'closed' | 'half_open' | 'open';

/** `half_open`: its time is over, and the next failure opens it again at once. */
export function stateOf(breaker: Breaker, nowMs: number): BreakerState {
  if (isOpen(breaker, nowMs)) return 'open';
  return breaker.failures >= failuresToOpen ? 'half_open' : 'closed';
}

/** @param waitMs  what the server asked for, if it did; bounds are those of the breaker */
export function afterFailure(breaker: Breaker, nowMs: number, waitMs = 0): Breaker {
  const failures = breaker.failures + 1;
  if (failures >= failuresToOpen) return { failures, openUntilMs: nowMs + openMs };
  return { failures, openUntilMs: waitMs > 0 ? nowMs + Math.min(waitMs, openMs) : breaker.openUntilMs };
}
