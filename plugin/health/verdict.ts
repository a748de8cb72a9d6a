// From evidence to verdict: pure. Status and /ready say what this file says, at the moment they are asked.

import type { EvidenceKind } from '../../shared/errors/policy.ts';
import type { RegistryState } from '../../shared/registry/state.ts';

export type Reason =
  | 'state_unavailable'
  | 'status_stale'
  | 'metadata_unverified'
  | 'upsert_check_failed'
  | 'upsert_allowed'
  | 'metadata_read_failed'
  | 'profile_invalid'
  | 'version_rollback'
  | 'state_save_failed'
  | 'state_publish_failed'
  | 'encryption_blocked'
  | 'deep_probe_pending'
  | 'deep_probe_failed'
  | 'deep_probe_invalid'
  | 'circuit_breaker_open'
  | 'probe_failed'
  | 'socket_lost'
  | 'runtime_directory_gone'
  | 'shutting_down';

/** Why the last probe of a kind failed. */
export type Failure = { readonly reason: Reason; readonly errorClass: string; readonly kind: EvidenceKind };

/** Everything known, with ages in milliseconds; undefined: never. */
export type Evidence = {
  readonly state: RegistryState | undefined;
  readonly metadata: { readonly goodAgeMs: number | undefined; readonly failure: Failure | undefined };
  /** Of the active key; evidence of another key is no evidence. */
  readonly deep: { readonly goodAgeMs: number | undefined; readonly failure: Failure | undefined };
  readonly isPersistenceDegraded: boolean;
  readonly isSocketLost: boolean;
  /** The socket's directory lost its name: nobody can connect any more. */
  readonly isRuntimeDirectoryGone?: boolean;
  readonly isShuttingDown: boolean;
};

export type VerdictLimits = { readonly statusMaxStalenessMs: number; readonly deepMaxAgeMs: number };

export type Verdict = {
  readonly healthz: 'ok' | 'unhealthy';
  readonly isStale: boolean;
  readonly reasons: readonly Reason[];
  readonly metadataErrorClass: string | undefined;
  readonly deepErrorClass: string | undefined;
  readonly cacheAgeMs: number | undefined;
  readonly rotationState: 'active' | 'pending' | 'unknown';
  readonly isPersistenceDegraded: boolean;
};

/**
 * Healthy means: a state, a good metadata probe not older than the bound, a good deep probe of the active key, and no wrong
 * answer since. A probe without an answer lets evidence age instead of ending it.
 */
export function judge(evidence: Evidence, limits: VerdictLimits): Verdict {
  const { state, metadata, deep } = evidence;
  const isStale = metadata.goodAgeMs === undefined || metadata.goodAgeMs > limits.statusMaxStalenessMs;
  const isDeepFresh = deep.goodAgeMs !== undefined && deep.goodAgeMs <= limits.deepMaxAgeMs;
  const isContradicted = metadata.failure?.kind === 'wrong_answer' || deep.failure?.kind === 'wrong_answer';
  const isHealthy = state !== undefined && !isStale && isDeepFresh && !isContradicted;
  return {
    healthz: isHealthy ? 'ok' : 'unhealthy',
    isStale,
    reasons: reasonsOf(evidence, isStale, isDeepFresh),
    metadataErrorClass: metadata.failure?.errorClass,
    deepErrorClass: deep.failure?.errorClass,
    cacheAgeMs: metadata.goodAgeMs,
    rotationState: rotationStateOf(state),
    isPersistenceDegraded: evidence.isPersistenceDegraded,
  };
}

/** In the order of status-and-probes 9, none twice. */
function reasonsOf(evidence: Evidence, isStale: boolean, isDeepFresh: boolean): readonly Reason[] {
  const { state, metadata, deep } = evidence;
  const reasons = new Set<Reason>();
  if (state === undefined) reasons.add('state_unavailable');
  if (isStale) reasons.add('status_stale');
  const isUnverified = state !== undefined && metadata.goodAgeMs === undefined && metadata.failure === undefined;
  if (isUnverified) reasons.add('metadata_unverified');
  if (metadata.failure !== undefined) reasons.add(metadata.failure.reason);
  if (state !== undefined && deep.failure !== undefined) reasons.add(deep.failure.reason);
  if (state !== undefined && deep.failure === undefined && !isDeepFresh) reasons.add('deep_probe_pending');
  // A directory that is gone takes the name in it along: the cause is told, not both.
  if (evidence.isRuntimeDirectoryGone === true) reasons.add('runtime_directory_gone');
  else if (evidence.isSocketLost) reasons.add('socket_lost');
  if (evidence.isShuttingDown) reasons.add('shutting_down');
  return [...reasons];
}

function rotationStateOf(state: RegistryState | undefined): Verdict['rotationState'] {
  if (state === undefined) return 'unknown';
  return state.snapshots.some((snapshot) => snapshot.state === 'pending') ? 'pending' : 'active';
}
