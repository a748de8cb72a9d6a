// From evidence to verdict: pure. Status and /ready say what this file says, at the moment they are asked.

import type { Cause } from '../../shared/errors/cause.ts';
import type { EvidenceKind } from '../../shared/errors/policy.ts';
import { isFatal, type Reason, type RightFinding, reasons } from '../../shared/errors/words.ts';
import type { RegistryState } from '../../shared/registry/state.ts';
import { causeShown } from './cause-shown.ts';

export { type Reason, reasons };

/** Why a probe failed. */
export type Failure = { readonly reason: Reason; readonly cause: Cause; readonly kind: EvidenceKind };

/** What one kind of probe has shown; ages in milliseconds, undefined: never. Skipped probes leave no trace in it. */
export type KindEvidence = {
  readonly goodAgeMs: number | undefined;
  /** Of the last probe; undefined when it succeeded. */
  readonly failure: Failure | undefined;
  /** The last wrong answer since the last success: only a success of the same kind takes it back. */
  readonly wrong: Failure | undefined;
  /** How long no probe of this kind has succeeded; undefined when the last one did. */
  readonly failing: Failing | undefined;
};

export type Failing = { readonly sinceUnixMs: number; readonly ageMs: number };

/** What the last look at our rights found, and for how long Encrypt or Decrypt has lacked its own. */
export type RightsEvidence = { readonly findings: readonly RightFinding[]; readonly failing: Failing | undefined };

/** Everything known. */
export type Evidence = {
  readonly state: RegistryState | undefined;
  readonly metadata: KindEvidence;
  /** Of the active key; a success with another key is no evidence. */
  readonly deep: KindEvidence;
  readonly rights: RightsEvidence;
  readonly isPersistenceDegraded: boolean;
  readonly isSocketLost: boolean;
  /** The socket's directory lost its name: nobody can connect any more. */
  readonly isRuntimeDirectoryGone?: boolean;
  readonly isShuttingDown: boolean;
};

export type VerdictLimits = { readonly statusMaxStalenessMs: number; readonly deepMaxAgeMs: number };

/** What is wrong, in the one vocabulary, and since when. */
export type ShownCause = Cause & { readonly reason: Reason } & Failing;

export type Verdict = {
  readonly healthz: 'ok' | 'unhealthy';
  readonly isStale: boolean;
  readonly reasons: readonly Reason[];
  readonly metadataErrorClass: string | undefined;
  readonly deepErrorClass: string | undefined;
  /** Undefined while no probe fails. */
  readonly cause: ShownCause | undefined;
  readonly rightFindings: readonly RightFinding[];
  readonly cacheAgeMs: number | undefined;
  readonly rotationState: 'active' | 'pending' | 'unknown';
  readonly isPersistenceDegraded: boolean;
};

/**
 * Healthy means: a state, a good metadata probe not older than the bound, a good deep probe of the active key, no wrong answer
 * since, and both rights. A probe without an answer lets evidence age instead of ending it; it takes no wrong answer back.
 */
export function judge(evidence: Evidence, limits: VerdictLimits): Verdict {
  const { state, metadata, deep, rights } = evidence;
  const isStale = metadata.goodAgeMs === undefined || metadata.goodAgeMs > limits.statusMaxStalenessMs; // control: verdict.stale
  const isDeepFresh = deep.goodAgeMs !== undefined && deep.goodAgeMs <= limits.deepMaxAgeMs; // control: verdict.deep-age
  // control: verdict.contradicted
  const isContradicted = metadata.wrong !== undefined || deep.wrong !== undefined || rights.findings.some(isFatal);
  const isHealthy = state !== undefined && !isStale && isDeepFresh && !isContradicted;
  return {
    healthz: isHealthy ? 'ok' : 'unhealthy',
    isStale,
    reasons: reasonsOf(evidence, isStale, isDeepFresh),
    metadataErrorClass: metadata.failure?.cause.class,
    deepErrorClass: deep.failure?.cause.class,
    cause: causeShown(evidence),
    rightFindings: rights.findings,
    cacheAgeMs: metadata.goodAgeMs,
    rotationState: rotationStateOf(state),
    isPersistenceDegraded: evidence.isPersistenceDegraded,
  };
}

/** In a fixed order, none twice. */
function reasonsOf(evidence: Evidence, isStale: boolean, isDeepFresh: boolean): readonly Reason[] {
  const { state, metadata, deep, rights } = evidence;
  const reasons = new Set<Reason>();
  const addFailure = ({ wrong, failure }: KindEvidence) => {
    if (wrong !== undefined) reasons.add(wrong.reason);
    if (failure !== undefined) reasons.add(failure.reason);
  };
  if (state === undefined) reasons.add('state_unavailable');
  if (isStale) reasons.add('status_stale');
  const isUnverified = state !== undefined && metadata.goodAgeMs === undefined && metadata.failure === undefined;
  if (isUnverified) reasons.add('metadata_unverified');
  addFailure(metadata);
  if (rights.findings.some(isFatal)) reasons.add('rights_missing');
  if (state !== undefined) addFailure(deep);
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
