// The two probes. Metadata: is the key still the one we accepted, and did its newest version change? Deep: can it encrypt and
// decrypt? What they find goes into the status cache; what changes goes through the supervisor to disk before anybody
// sees it. Written after status-and-probes 4 and 5.

import { timingSafeEqual } from 'node:crypto';
import { type ErrorClass, errorClassOf, ProviderError } from '../../shared/errors/error.ts';
import { policyOf } from '../../shared/errors/policy.ts';
import type { Identity } from '../../shared/registry/key-id.ts';
import { encodeState, type RegistryState, type Snapshot } from '../../shared/registry/state.ts';
import { type Reading, readClock } from '../../shared/time/age.ts';
import type { Clock } from '../../shared/time/clock.ts';
import { ActivationWait } from '../keys/activation-wait.ts';
import { bootstrap, type Observation, observe } from '../keys/observe.ts';
import { isBookkeepingOnly } from '../keys/pending-commit.ts';
import type { KeyProfile } from '../keys/profile.ts';
import type { Transit } from '../transit/transit.ts';
import { afterFailure, type Breaker, closedBreaker, isOpen } from './breaker.ts';
import { ProbeGate } from './gate.ts';
import type { StatusCache } from './status-cache.ts';
import type { Reason } from './verdict.ts';

/** What the supervisor said to a proposed state. */
export type CommitOutcome = {
  readonly outcome: 'saved' | 'refused' | 'failed';
  readonly onDisk: 'predecessor' | 'attempted' | 'other' | 'unreadable';
};

export type ProbeEvent =
  | {
      readonly kind: 'probe';
      readonly probe: 'metadata' | 'deep';
      readonly trigger: Trigger;
      readonly durationMs: number;
      readonly error?: unknown;
      readonly reason?: Reason;
    }
  | { readonly kind: 'promoted'; readonly previous: Snapshot; readonly active: Snapshot }
  | { readonly kind: 'clock_regressed' }
  | { readonly kind: 'profile'; readonly profile: KeyProfile };

export type Trigger = 'bootstrap' | 'schedule' | 'discovery' | 'candidate' | 'credential';

export type ProbeDeps = {
  readonly clock: Clock;
  readonly transit: Transit;
  readonly cache: StatusCache;
  readonly commit: (state: string) => Promise<CommitOutcome>;
  readonly randomBytes: (sizeBytes: number) => Buffer;
  readonly observe: (event: ProbeEvent) => void;
  readonly settings: {
    readonly identity: Identity;
    readonly identityFingerprint: string;
    readonly keyName: string;
    readonly stableCount: number;
    readonly activationDelayMs: number;
    readonly probeIntervalMs: number;
    readonly rejectVersionRollback: boolean;
    readonly timeoutMs: number;
    readonly stable: { readonly keyId: string; readonly elapsedMs: number } | undefined;
  };
};

/** The probe's associated data: no JSON, so it can never equal that of a KMS call. */
const probeAad = Buffer.from('openbao-kubernetes-kms/status-probe/v1', 'utf8');
const probeBytes = 32;
/** A probe makes at most two requests, plus one login between them. */
const probeTimeouts = 3;
const greatestCiphertextBytes = 1023;

/** `check`: only looks, for a plugin that is not in office yet; nothing is proposed. */
type Mode = 'advance' | 'discover' | 'check';
type PendingCommit = { readonly attempted: RegistryState; readonly predecessor: RegistryState | undefined };

export class Probes {
  readonly #deps: ProbeDeps;
  readonly #gate = new ProbeGate();
  readonly #wait: ActivationWait;
  #metadataBreaker: Breaker = closedBreaker;
  #deepBreaker: Breaker = closedBreaker;
  #pendingCommit: PendingCommit | undefined;
  #lastCountedAtMs = Number.NEGATIVE_INFINITY;

  constructor(deps: ProbeDeps) {
    this.#deps = deps;
    this.#wait = new ActivationWait(deps.settings.activationDelayMs, deps.settings.stable);
  }

  get gate(): ProbeGate {
    return this.#gate;
  }

  isBreakerOpen(): boolean {
    const nowMs = this.#deps.clock.nowMs();
    return isOpen(this.#metadataBreaker, nowMs) || isOpen(this.#deepBreaker, nowMs);
  }

  /** Due: there is a state, metadata is good, and the active key's latest deep probe did not succeed. */
  isDeepDue(): boolean {
    const { cache } = this.#deps;
    return cache.state !== undefined && cache.isMetadataGood && !cache.isDeepGood;
  }

  /** @returns whether it succeeded */
  metadata(trigger: Trigger, signal: AbortSignal, mode: Mode = 'advance'): Promise<boolean> {
    return this.#gate.pass(() => this.metadataAlone(trigger, signal, mode), signal);
  }

  /** For a caller that holds the gate already. */
  async metadataAlone(trigger: Trigger, signal: AbortSignal, mode: Mode): Promise<boolean> {
    const startedAt = readClock(this.#deps.clock);
    const isFree = trigger === 'bootstrap';
    try {
      if (!isFree && isOpen(this.#metadataBreaker, startedAt.nowMs)) throw skipped();
      await this.#bounded(signal, (bound) => this.#observeOnce(startedAt, mode, bound));
      this.#metadataBreaker = closedBreaker;
      this.#report('metadata', trigger, startedAt);
      return true;
    } catch (error) {
      if (signal.aborted) return false;
      this.#metadataFailed(error, trigger, startedAt);
      return false;
    }
  }

  /** @returns whether it succeeded */
  deep(trigger: Trigger, signal: AbortSignal): Promise<boolean> {
    return this.#gate.pass(() => this.#deepAlone(trigger, signal), signal);
  }

  async #observeOnce(startedAt: Reading, mode: Mode, signal: AbortSignal): Promise<void> {
    const { transit, cache } = this.#deps;
    const isUpsertDisabled = await transit.readUpsertDisabled(signal).catch(failedAt('upsert_check_failed'));
    if (!isUpsertDisabled) {
      throw new ProviderError('upsert_allowed', 'the Transit mount makes keys on demand; set disable_upsert=true');
    }
    const profile = await transit.readKey(signal).catch(failedAt('metadata_read_failed'));
    this.#deps.observe({ kind: 'profile', profile });
    if (mode === 'check') return this.#checkOnly(profile, startedAt);
    const state = (await this.#finishPendingCommit(profile, startedAt)) ?? cache.state;
    if (state === undefined) return this.#bootstrapState(profile, startedAt);
    await this.#advance(state, profile, startedAt, mode, signal);
  }

  /** Status-and-probes 8: discovery mode, its result thrown away. */
  #checkOnly(profile: KeyProfile, startedAt: Reading): void {
    const { cache, settings } = this.#deps;
    if (cache.state === undefined) throw new ProviderError('state_unavailable', 'no registry state yet');
    const seen = {
      state: cache.state,
      profile,
      keyName: settings.keyName,
      nowUnix: Math.floor(startedAt.wallMs / 1000),
    };
    const fixed = {
      mode: 'discover',
      isCounted: false,
      promotable: undefined,
      stableCount: settings.stableCount,
    } as const;
    const found = observe({ ...seen, ...fixed, rejectVersionRollback: settings.rejectVersionRollback });
    cache.publish(cache.state, startedAt);
    if (found.isEncryptionBlocked) throw encryptionBlocked();
  }

  async #bootstrapState(profile: KeyProfile, startedAt: Reading): Promise<void> {
    const { identity, identityFingerprint, keyName } = this.#deps.settings;
    const nowUnix = Math.floor(startedAt.wallMs / 1000);
    const state = bootstrap(identity, identityFingerprint, profile, keyName, nowUnix);
    await this.#save(state, undefined, profile);
    this.#deps.cache.publish(state, startedAt);
  }

  async #advance(
    state: RegistryState,
    profile: KeyProfile,
    startedAt: Reading,
    mode: Exclude<Mode, 'check'>,
    signal: AbortSignal,
  ): Promise<void> {
    const { settings, cache } = this.#deps;
    const isCounted = startedAt.nowMs - this.#lastCountedAtMs >= settings.probeIntervalMs / 2;
    const input = {
      state,
      profile,
      keyName: settings.keyName,
      nowUnix: Math.floor(startedAt.wallMs / 1000),
      mode,
      stableCount: settings.stableCount,
      isCounted,
      rejectVersionRollback: settings.rejectVersionRollback,
    };
    const found = observe({ ...input, promotable: this.#wait.elapsedKeyId(this.#deps.clock.nowMs()) });
    const isProven = found.outcome !== 'promoted' || (await this.#isCandidateProven(found, signal));
    const result = isProven ? found : observe({ ...input, promotable: undefined });
    const isSaved = result.outcome === 'unchanged' || (await this.#save(result.state, state, profile));
    if (!isSaved) return cache.confirmUnsaved(startedAt);
    if (isCounted && mode === 'advance') this.#lastCountedAtMs = startedAt.nowMs;
    this.#publish(result, state, startedAt, mode);
    if (result.isEncryptionBlocked) throw encryptionBlocked();
  }

  #publish(result: Observation, before: RegistryState, startedAt: Reading, mode: Mode): void {
    const previous = this.#deps.cache.active;
    this.#deps.cache.publish(result.state, startedAt, result.outcome === 'promoted');
    this.#pendingCommit = undefined;
    if (mode === 'advance') this.#wait.observed(result.stable?.kubernetesKeyId, this.#deps.clock.nowMs());
    if (result.isClockRegressed) this.#deps.observe({ kind: 'clock_regressed' });
    const active = this.#deps.cache.active;
    const isPromoted = result.outcome === 'promoted' && before !== result.state;
    if (isPromoted && previous !== undefined && active !== undefined) {
      this.#deps.observe({ kind: 'promoted', previous, active });
    }
  }

  /** A candidate encrypts and decrypts before anything is proposed, so Status never dips (rotation 13.6). */
  async #isCandidateProven(found: Observation, signal: AbortSignal): Promise<boolean> {
    const startedAt = readClock(this.#deps.clock);
    const candidate = found.state.snapshots.find(({ state }) => state === 'active');
    if (candidate === undefined) return false;
    try {
      await this.#roundTrip(candidate, signal);
      this.#report('deep', 'candidate', startedAt);
      return true;
    } catch (error) {
      this.#report('deep', 'candidate', startedAt, error, 'deep_probe_failed');
      return false;
    }
  }

  /**
   * @returns false when only bookkeeping could not be saved and everything else is proven
   * @throws ProviderError `state_save_failed`
   */
  async #save(next: RegistryState, before: RegistryState | undefined, profile: KeyProfile): Promise<boolean> {
    this.#pendingCommit = { attempted: next, predecessor: before };
    const { outcome, onDisk } = await this.#deps.commit(encodeState(next));
    if (outcome === 'saved') {
      this.#pendingCommit = undefined;
      return true;
    }
    if (outcome === 'failed' && onDisk === 'predecessor' && this.#isDeferrable(next, before, profile)) return false;
    throw new ProviderError('state_save_failed', 'the registry state could not be saved', {
      facts: { outcome, onDisk },
    });
  }

  /** Bookkeeping only, and the predecessor is still right in every respect (registry-state 6.3). */
  #isDeferrable(next: RegistryState, before: RegistryState | undefined, profile: KeyProfile): boolean {
    const { cache, settings } = this.#deps;
    if (before === undefined || !isBookkeepingOnly(before, next)) return false;
    if (cache.state?.currentHash !== before.currentHash || !cache.isDeepGood) return false;
    const input = { state: before, profile, keyName: settings.keyName, nowUnix: 0, isCounted: false };
    const fixed = { mode: 'discover', promotable: undefined, stableCount: settings.stableCount } as const;
    const again = observe({ ...input, ...fixed, rejectVersionRollback: settings.rejectVersionRollback });
    return again.outcome === 'unchanged' && !again.isEncryptionBlocked;
  }

  /** Proposes the very same bytes again; what comes back is the base of this probe's observation. */
  async #finishPendingCommit(profile: KeyProfile, startedAt: Reading): Promise<RegistryState | undefined> {
    const pending = this.#pendingCommit;
    if (pending === undefined) return undefined;
    const isSaved = await this.#save(pending.attempted, pending.predecessor, profile);
    if (isSaved) {
      this.#deps.cache.publish(pending.attempted, startedAt);
      return pending.attempted;
    }
    return pending.predecessor;
  }

  async #deepAlone(trigger: Trigger, signal: AbortSignal): Promise<boolean> {
    const startedAt = readClock(this.#deps.clock);
    const { cache } = this.#deps;
    const active = cache.active;
    if (active === undefined || cache.verdict().reasons.includes('encryption_blocked')) return false;
    try {
      if (trigger !== 'bootstrap' && isOpen(this.#deepBreaker, startedAt.nowMs)) throw skipped();
      await this.#bounded(signal, (bound) => this.#roundTrip(active, bound));
      this.#deepBreaker = closedBreaker;
      cache.deepPassed(active.kubernetesKeyId, startedAt);
      this.#report('deep', trigger, startedAt);
      return true;
    } catch (error) {
      if (!signal.aborted) this.#deepFailed(error, trigger, startedAt);
      return false;
    }
  }

  async #roundTrip(snapshot: Snapshot, signal: AbortSignal): Promise<void> {
    const plaintext = this.#deps.randomBytes(probeBytes);
    const request = { keyVersion: snapshot.transitVersion, plaintext, aad: probeAad };
    const ciphertext = await this.#deps.transit.encrypt(request, signal);
    const decrypted = await this.#deps.transit.decrypt({ ciphertext, aad: probeAad }, signal);
    const isSame = decrypted.length === plaintext.length && timingSafeEqual(decrypted, plaintext);
    if (!isSame)
      throw new ProviderError('deep_probe_invalid', 'the round trip answered other bytes than were encrypted');
    if (Buffer.byteLength(ciphertext, 'utf8') > greatestCiphertextBytes) {
      throw new ProviderError('deep_probe_invalid', 'the ciphertext is too long for the API server');
    }
  }

  async #bounded<T>(signal: AbortSignal, run: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const controller = new AbortController();
    const leave = () => controller.abort(signal.reason);
    signal.throwIfAborted();
    signal.addEventListener('abort', leave, { once: true });
    const timeout = new ProviderError('timeout', 'the probe took too long');
    const cancel = this.#deps.clock.after(probeTimeouts * this.#deps.settings.timeoutMs, () =>
      controller.abort(timeout),
    );
    try {
      return await run(controller.signal);
    } finally {
      cancel();
      signal.removeEventListener('abort', leave);
    }
  }

  #metadataFailed(error: unknown, trigger: Trigger, startedAt: Reading): void {
    const reason = reasonOfMetadata(error);
    const isCounted = reason === 'upsert_check_failed' || reason === 'metadata_read_failed';
    if (isCounted && trigger !== 'bootstrap') {
      this.#metadataBreaker = afterFailure(this.#metadataBreaker, this.#deps.clock.nowMs(), retryAfterOf(error));
    }
    if (reason === 'encryption_blocked') this.#metadataBreaker = closedBreaker;
    this.#deps.cache.metadataFailed({
      reason,
      errorClass: classFor(error, reason),
      kind: policyOf(causeOf(error)).evidence,
    });
    this.#report('metadata', trigger, startedAt, error, reason);
  }

  #deepFailed(error: unknown, trigger: Trigger, startedAt: Reading): void {
    const errorClass = errorClassOf(error);
    const isInvalid = errorClass === 'deep_probe_invalid' || errorClass === 'transit_response_invalid';
    const isSkipped = errorClass === 'circuit_breaker_open';
    const reason = isInvalid ? 'deep_probe_invalid' : isSkipped ? 'circuit_breaker_open' : 'deep_probe_failed';
    if (!isSkipped && trigger !== 'bootstrap') {
      this.#deepBreaker = afterFailure(this.#deepBreaker, this.#deps.clock.nowMs(), retryAfterOf(error));
    }
    this.#deps.cache.deepFailed({ reason, errorClass: policyOf(error).probeClass, kind: policyOf(error).evidence });
    this.#report('deep', trigger, startedAt, error, reason);
  }

  #report(probe: 'metadata' | 'deep', trigger: Trigger, startedAt: Reading, error?: unknown, reason?: Reason): void {
    const durationMs = this.#deps.clock.nowMs() - startedAt.nowMs;
    const failure = error === undefined ? {} : { error };
    const code = reason === undefined ? {} : { reason };
    this.#deps.observe({ kind: 'probe', probe, trigger, durationMs, ...failure, ...code });
  }
}

/** Remembers at which step an OpenBao read failed; the class stays that of the cause. */
class StepFailure extends Error {
  readonly reason: Reason;

  constructor(reason: Reason, cause: unknown) {
    super('a probe step failed', { cause });
    this.reason = reason;
  }
}

function failedAt(reason: Reason): (error: unknown) => never {
  return (error) => {
    throw errorClassOf(error) === 'profile_invalid' ? error : new StepFailure(reason, error);
  };
}

function causeOf(error: unknown): unknown {
  return error instanceof StepFailure ? error.cause : error;
}

const localReasons: Partial<Record<ErrorClass, Reason>> = {
  upsert_allowed: 'upsert_allowed',
  profile_invalid: 'profile_invalid',
  version_rollback: 'version_rollback',
  state_unavailable: 'state_unavailable',
  state_save_failed: 'state_save_failed',
  encryption_blocked: 'encryption_blocked',
  circuit_breaker_open: 'circuit_breaker_open',
  timeout: 'metadata_read_failed',
};

function reasonOfMetadata(error: unknown): Reason {
  return error instanceof StepFailure ? error.reason : (localReasons[errorClassOf(error)] ?? 'probe_failed');
}

function classFor(error: unknown, reason: Reason): string {
  return error instanceof StepFailure || errorClassOf(error) === 'timeout'
    ? policyOf(causeOf(error)).probeClass
    : reason;
}

function retryAfterOf(error: unknown): number {
  const cause = causeOf(error);
  const waitMs = cause instanceof ProviderError ? cause.facts['retryAfterMs'] : undefined;
  return typeof waitMs === 'number' ? waitMs : 0;
}

function skipped(): ProviderError {
  return new ProviderError('circuit_breaker_open', 'the probe was skipped after repeated failures');
}

function encryptionBlocked(): ProviderError {
  return new ProviderError(
    'encryption_blocked',
    'min_encryption_version of the Transit key is above the active version',
  );
}
