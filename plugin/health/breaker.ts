// A circuit breaker for probes: after three counted failures none is tried for 30 s. Success closes it; when the 30 s are
// over one try decides. It never touches Encrypt or Decrypt (status-and-probes 6).

const failuresToOpen = 3;
const openMs = 30_000;

export type Breaker = { readonly failures: number; readonly openUntilMs: number };
export const closedBreaker: Breaker = { failures: 0, openUntilMs: 0 };

export function isOpen(breaker: Breaker, nowMs: number): boolean {
  return nowMs < breaker.openUntilMs;
}

/** @param waitMs  what the server asked for, if it did; bounds are those of the breaker */
export function afterFailure(breaker: Breaker, nowMs: number, waitMs = 0): Breaker {
  const failures = breaker.failures + 1;
  if (failures >= failuresToOpen) return { failures, openUntilMs: nowMs + openMs };
  return { failures, openUntilMs: waitMs > 0 ? nowMs + Math.min(waitMs, openMs) : breaker.openUntilMs };
}
