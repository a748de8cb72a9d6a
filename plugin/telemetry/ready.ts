// The body of /ready: what the verdict says, what is wrong and since when, when it is looked at again, and what becomes a fault
// when nobody acts.

import type { Reason, ShownCause, Verdict } from '../health/verdict.ts';
import type { Warning } from '../health/warnings.ts';
import type { BreakerState } from '../probes/breaker.ts';

export type ReadyFacts = {
  readonly verdict: Verdict;
  readonly breaker: BreakerState;
  /** Unix milliseconds; undefined while no probe is planned. */
  readonly nextProbeAtUnixMs: number | undefined;
  readonly warnings: readonly Warning[];
};

/** Nobody can begin to use the provider, however healthy it is. */
const unreachable: readonly Reason[] = ['shutting_down', 'runtime_directory_gone'];

/** Members that say nothing are left out. @param facts  undefined: they could not be read */
export function readyBody(facts: ReadyFacts | undefined): { readonly status: number; readonly body: string } {
  if (facts === undefined) {
    return { status: 503, body: JSON.stringify({ status: 'unavailable', reasons: ['diagnostics_unavailable'] }) };
  }
  const { verdict, breaker, nextProbeAtUnixMs, warnings } = facts;
  const isUnreachable = unreachable.some((reason) => verdict.reasons.includes(reason));
  const isReady = verdict.healthz === 'ok' && !verdict.isStale && !isUnreachable;
  const isNextShown = verdict.cause !== undefined && nextProbeAtUnixMs !== undefined;
  const body = {
    status: isReady ? 'ok' : 'unavailable',
    healthz: verdict.healthz,
    cache_age_ms: verdict.cacheAgeMs === undefined ? undefined : Math.round(verdict.cacheAgeMs),
    stale: verdict.isStale,
    rotation_state: verdict.rotationState,
    reasons: verdict.reasons,
    cause: verdict.cause && causeBody(verdict.cause),
    next_probe_at: isNextShown ? new Date(nextProbeAtUnixMs).toISOString() : undefined,
    warnings: warnings.length === 0 ? undefined : warnings.map(warningBody),
    metadata_error_class: verdict.metadataErrorClass,
    deep_error_class: verdict.deepErrorClass,
    persistence_degraded: verdict.isPersistenceDegraded || undefined,
    circuit_breaker: breaker === 'closed' ? undefined : breaker,
  };
  return { status: isReady ? 200 : 503, body: JSON.stringify(body) };
}

function causeBody({ reason, class: errorClass, detail, finding, httpStatus, repair, sinceUnixMs, ageMs }: ShownCause) {
  return {
    reason,
    class: errorClass,
    detail,
    finding,
    http_status: httpStatus,
    repair,
    since: new Date(sinceUnixMs).toISOString(),
    for_seconds: Math.floor(ageMs / 1000),
  };
}

function warningBody({ waitingMs, ...rest }: Warning) {
  return { ...rest, waiting_seconds: waitingMs === undefined ? undefined : Math.floor(waitingMs / 1000) };
}
