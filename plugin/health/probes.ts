// The two probes. Metadata: is the key still the one we accepted, and did its newest version change? Deep: can it encrypt and
// decrypt? What they find goes into the status cache; what changes goes through the supervisor to disk before anybody
// sees it. Written after status-and-probes 4 and 5.

import { timingSafeEqual } from 'node:crypto';
import { ProviderError } from '../../shared/errors/error.ts';
import { policyOf } from '../../shared/errors/policy.ts';
import { encodeState, type Snapshot } from '../../shared/registry/state.ts';
import { type Reading, readClock } from '../../shared/time/age.ts';
import type { Clock } from '../../shared/time/clock.ts';
import { startWait } from '../keys/activation-wait.ts';
import {
  type CommitOutcome,
  checkKey,
  type Ledger,
  type LedgerAnswer,
  type LedgerEffect,
  type LedgerSettings,
  type ProbeOutcome,
  readKey,
} from '../keys/ledger.ts';
import type { KeyProfile } from '../keys/profile.ts';
import type { Transit } from '../transit/transit.ts';
import { afterFailure, type Breaker, type BreakerState, closedBreaker, isOpen, stateOf } from './breaker.ts';
import { ProbeGate } from './gate.ts';
import {
  causeOf,
  classFor,
  encryptionBlocked,
  failedAt,
  isCounted,
  reasonOfDeep,
  reasonOfMetadata,
  retryAfterOf,
  saveDeferred,
  skipped,
} from './probe-failure.ts';
import type { StatusCache } from './status-cache.ts';
import type { Reason } from './verdict.ts';

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
  readonly settings: LedgerSettings & {
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

export class Probes {
  readonly #deps: ProbeDeps;
  readonly #gate = new ProbeGate();
  readonly #ledger: Ledger;
  #metadataBreaker: Breaker = closedBreaker;
  #deepBreaker: Breaker = closedBreaker;

  constructor(deps: ProbeDeps) {
    this.#deps = deps;
    this.#ledger = {
      published: undefined,
      pendingCommit: undefined,
      wait: startWait(deps.settings.stable),
      lastCountedAtMs: Number.NEGATIVE_INFINITY,
    };
  }

  get gate(): ProbeGate {
    return this.#gate;
  }

  /** Of both breakers the one that is further from closed. */
  breakerState(): BreakerState {
    const nowMs = this.#deps.clock.nowMs();
    const states = [stateOf(this.#metadataBreaker, nowMs), stateOf(this.#deepBreaker, nowMs)];
    return (['open', 'half_open'] as const).find((state) => states.includes(state)) ?? 'closed';
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
      const outcome = await this.#bounded(signal, (bound) => this.#observeOnce(startedAt, mode, bound));
      if (outcome === 'encryption_blocked') throw encryptionBlocked();
      this.#metadataBreaker = closedBreaker;
      // Everything was proven, so health stays; the probe reports the error all the same (registry-state 6.3).
      if (outcome === 'unsaved') this.#report('metadata', trigger, startedAt, saveDeferred(), 'state_save_failed');
      else this.#report('metadata', trigger, startedAt);
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

  async #observeOnce(startedAt: Reading, mode: Mode, signal: AbortSignal): Promise<ProbeOutcome> {
    const { transit, cache, clock, settings } = this.#deps;
    const isUpsertDisabled = await transit.readUpsertDisabled(signal).catch(failedAt('upsert_check_failed'));
    if (!isUpsertDisabled) {
      throw new ProviderError('upsert_allowed', 'the Transit mount makes keys on demand; set disable_upsert=true');
    }
    const profile = await transit.readKey(signal).catch(failedAt('metadata_read_failed'));
    this.#deps.observe({ kind: 'profile', profile });
    if (mode === 'check') return this.#checkOnly(profile, startedAt);
    this.#ledger.published = cache.state;
    const steps = readKey(this.#ledger, settings, {
      profile,
      mode,
      startedAtMs: startedAt.nowMs,
      nowUnix: Math.floor(startedAt.wallMs / 1000),
      nowMs: clock.nowMs,
      isDeepGood: cache.isDeepGood,
    });
    for (let step = steps.next(); ; ) {
      if (step.done === true) return step.value;
      step = steps.next(await this.#perform(step.value, startedAt, signal));
    }
  }

  async #perform(effect: LedgerEffect, startedAt: Reading, signal: AbortSignal): Promise<LedgerAnswer> {
    const { cache, commit, observe } = this.#deps;
    switch (effect.kind) {
      case 'save':
        return commit(encodeState(effect.state));
      case 'prove':
        return this.#isCandidateProven(effect.candidate, signal);
      case 'publish':
        cache.publish(effect.state, startedAt, effect.isDeepProven);
        return undefined;
      case 'confirm_unsaved':
        cache.confirmUnsaved(startedAt);
        return undefined;
      case 'promoted':
      case 'clock_regressed':
        observe(effect);
        return undefined;
    }
  }

  #checkOnly(profile: KeyProfile, startedAt: Reading): ProbeOutcome {
    const { cache, settings } = this.#deps;
    const isBlocked = checkKey(cache.state, settings, profile);
    if (cache.state !== undefined) cache.publish(cache.state, startedAt);
    return isBlocked ? 'encryption_blocked' : 'done';
  }

  async #isCandidateProven(candidate: Snapshot, signal: AbortSignal): Promise<boolean> {
    const startedAt = readClock(this.#deps.clock);
    try {
      await this.#roundTrip(candidate, signal);
      this.#report('deep', 'candidate', startedAt);
      return true;
    } catch (error) {
      this.#report('deep', 'candidate', startedAt, error, reasonOfDeep(error));
      return false;
    }
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
    if (isCounted(reason) && trigger !== 'bootstrap') {
      this.#metadataBreaker = afterFailure(this.#metadataBreaker, this.#deps.clock.nowMs(), retryAfterOf(error));
    }
    if (reason === 'encryption_blocked') this.#metadataBreaker = closedBreaker;
    this.#deps.cache.metadataFailed({
      reason,
      errorClass: classFor(error),
      kind: policyOf(causeOf(error)).evidence,
    });
    this.#report('metadata', trigger, startedAt, error, reason);
  }

  #deepFailed(error: unknown, trigger: Trigger, startedAt: Reading): void {
    const reason = reasonOfDeep(error);
    if (reason !== 'circuit_breaker_open' && trigger !== 'bootstrap') {
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
