// The two probes. Metadata: is the key still the one we accepted, and did its newest version change? Deep: can it encrypt and
// decrypt? What they find goes into the status cache; what changes goes through the supervisor to disk before anybody
// sees it.

import { ProviderError } from '../../shared/errors/error.ts';
import { encodeState, type Snapshot } from '../../shared/registry/state.ts';
import { type Reading, readClock } from '../../shared/time/age.ts';
import type { Clock } from '../../shared/time/clock.ts';
import { withDeadline } from '../../shared/time/deadline.ts';
import type { StatusCache } from '../health/status-cache.ts';
import { startWait } from '../keys/activation-wait.ts';
import {
  advance,
  type CommitOutcome,
  checkKey,
  type Ledger,
  type LedgerAnswer,
  type LedgerEffect,
  type LedgerSettings,
  type ProbeOutcome,
} from '../keys/ledger.ts';
import type { KeyProfile } from '../keys/profile.ts';
import type { RightFinding } from '../keys/rights.ts';
import type { Transit } from '../transit/transit.ts';
import { type BreakerState, pauseAfterFailureMs, stateOf } from './breaker.ts';
import * as pace from './pace.ts';
import type { FailedWith, ProbeEvent, ProbeKind, Trigger } from './probe-event.ts';
import {
  deepFailure,
  encryptionBlocked,
  failedAt,
  isDenial,
  isOfOpenBao,
  metadataFailure,
  retryAfterOf,
  saveDeferred,
} from './probe-failure.ts';
import { RightsLook } from './rights-look.ts';
import { roundTrip } from './round-trip.ts';
import { ProbeTurn } from './turn.ts';

export type ProbeDeps = {
  readonly clock: Clock;
  readonly random: () => number;
  readonly transit: Omit<Transit, 'decryptTogether'>;
  readonly cache: StatusCache;
  /** Asks OpenBao what our token may do. */
  readonly readRights: (signal: AbortSignal) => Promise<readonly RightFinding[]>;
  readonly commit: (state: string) => Promise<CommitOutcome>;
  readonly randomBytes: (sizeBytes: number) => Buffer;
  readonly record: (event: ProbeEvent) => void;
  readonly settings: LedgerSettings & {
    readonly timeoutMs: number;
    readonly stable: { readonly keyId: string; readonly elapsedMs: number } | undefined;
  };
};

/** A probe makes at most two requests, plus one login between them. */
const probeTimeouts = 3;

/** `check`: only looks, for a plugin that is not the incumbent yet; nothing is proposed. */
type Mode = 'advance' | 'discover' | 'check';

export class Probes {
  readonly #deps: ProbeDeps;
  readonly #turn = new ProbeTurn();
  readonly #ledger: Ledger;
  readonly #paces: Record<ProbeKind, pace.Pace> = { metadata: pace.freshPace, deep: pace.freshPace };
  readonly #rights: RightsLook;

  constructor(deps: ProbeDeps) {
    this.#deps = deps;
    this.#rights = new RightsLook({
      cache: deps.cache,
      read: (signal) => this.#bounded(signal, deps.readRights),
      record: (findings, error) => this.#rightsSeen(findings, error),
    });
    this.#ledger = {
      published: undefined,
      pendingCommit: undefined,
      wait: startWait(deps.settings.stable),
      lastCountedAtMs: Number.NEGATIVE_INFINITY,
    };
  }

  get turn(): ProbeTurn {
    return this.#turn;
  }

  /** Of both breakers the one that is further from closed. */
  breakerState(): BreakerState {
    const nowMs = this.#deps.clock.nowMs();
    const states = Object.values(this.#paces).map(({ breaker }) => stateOf(breaker, nowMs));
    return (['open', 'half_open'] as const).find((state) => states.includes(state)) ?? 'closed';
  }

  paceOf(kind: ProbeKind): pace.Pace {
    return this.#paces[kind];
  }

  /**
   * OpenBao answered a call or a login well: what was not tried after failures may be tried at once.
   *
   * @returns the kinds that were not tried
   */
  answeredWell(): readonly ProbeKind[] {
    const nowMs = this.#deps.clock.nowMs();
    const paused = (['metadata', 'deep'] as const).filter((kind) => pace.isPaused(this.#paces[kind], nowMs));
    for (const kind of paused) this.#paces[kind] = pace.answeredWell(this.#paces[kind]);
    return paused;
  }

  /** A call was denied: the next probe is followed by a look at our rights. */
  wantRights(): void {
    this.#rights.want();
  }

  /** Due: there is a state, metadata is good, and the active key's latest deep probe did not succeed or is too old. */
  isDeepDue(): boolean {
    const { cache } = this.#deps;
    return cache.state !== undefined && cache.isMetadataGood && (!cache.isDeepGood || this.isTooOld('deep'));
  }

  /** Whether the last probe of a kind succeeded and its evidence has aged beyond its bound all the same. */
  isTooOld(kind: ProbeKind): boolean {
    const { cache } = this.#deps;
    if (kind === 'metadata') return cache.isMetadataGood && cache.verdict().isStale;
    return cache.isDeepGood && cache.verdict().reasons.includes('deep_probe_pending');
  }

  /** @returns whether it succeeded */
  metadata(trigger: Trigger, signal: AbortSignal, mode: Mode = 'advance'): Promise<boolean> {
    return this.#turn.take(async () => {
      if (this.#isSkipped('metadata', trigger)) return false;
      const isGood = await this.#probeMetadata(trigger, signal, mode);
      if (isGood) this.#rights.metadataRead();
      await this.#rights.look(signal);
      return isGood;
    }, signal);
  }

  /** For a caller that holds the turn already. */
  async metadataAlone(trigger: Trigger, signal: AbortSignal, mode: Mode): Promise<boolean> {
    return !this.#isSkipped('metadata', trigger) && this.#probeMetadata(trigger, signal, mode);
  }

  /** @returns whether it succeeded */
  deep(trigger: Trigger, signal: AbortSignal): Promise<boolean> {
    return this.#turn.take(async () => {
      const { cache } = this.#deps;
      const { active } = cache;
      if (active === undefined || cache.verdict().reasons.includes('encryption_blocked')) {
        this.#paces.deep = pace.idle(this.#paces.deep);
        return false;
      }
      if (this.#isSkipped('deep', trigger)) return false;
      const isGood = await this.#probeDeep(active, trigger, signal);
      await this.#rights.look(signal);
      return isGood;
    }, signal);
  }

  #isSkipped(kind: ProbeKind, trigger: Trigger): boolean {
    const nowMs = this.#deps.clock.nowMs();
    const isSkipped = trigger !== 'bootstrap' && pace.isPaused(this.#paces[kind], nowMs);
    if (isSkipped) this.#deps.record({ kind: 'skipped', probe: kind, trigger });
    else this.#paces[kind] = pace.started(this.#paces[kind], nowMs);
    return isSkipped;
  }

  async #probeMetadata(trigger: Trigger, signal: AbortSignal, mode: Mode): Promise<boolean> {
    const startedAt = readClock(this.#deps.clock);
    try {
      const outcome = await this.#bounded(signal, (bound) => this.#observeOnce(startedAt, mode, bound));
      if (outcome === 'encryption_blocked') throw encryptionBlocked();
      this.#succeeded('metadata');
      // Everything was proven, so health stays; the probe reports the error all the same.
      const deferred = outcome === 'unsaved' ? saveDeferred() : undefined;
      this.#report('metadata', trigger, startedAt, deferred && { failure: metadataFailure(deferred), error: deferred });
      return true;
    } catch (error) {
      if (!signal.aborted) this.#metadataFailed(error, trigger, startedAt);
      return false;
    }
  }

  async #observeOnce(startedAt: Reading, mode: Mode, signal: AbortSignal): Promise<ProbeOutcome> {
    const { transit, cache, clock, settings } = this.#deps;
    const isUpsertDisabled = await transit.readUpsertDisabled(signal).catch(failedAt('upsert_check_failed'));
    // control: probes.upsert
    if (!isUpsertDisabled) {
      throw new ProviderError('upsert_allowed', 'the Transit mount makes keys on demand; set disable_upsert=true');
    }
    const profile = await transit.readKey(signal).catch(failedAt('metadata_read_failed'));
    this.#deps.record({ kind: 'profile', profile });
    if (mode === 'check') return this.#checkOnly(profile, startedAt);
    this.#ledger.published = cache.state;
    const steps = advance(this.#ledger, settings, {
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
    const { cache, commit, record } = this.#deps;
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
        record(effect);
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
      await roundTrip(this.#deps, candidate.transitVersion, signal);
      this.#report('deep', 'candidate', startedAt);
      return true;
    } catch (error) {
      this.#report('deep', 'candidate', startedAt, { failure: deepFailure(error), error });
      return false;
    }
  }

  async #probeDeep(active: Snapshot, trigger: Trigger, signal: AbortSignal): Promise<boolean> {
    const startedAt = readClock(this.#deps.clock);
    try {
      await this.#bounded(signal, (bound) => roundTrip(this.#deps, active.transitVersion, bound));
      this.#succeeded('deep');
      this.#deps.cache.deepPassed(active.kubernetesKeyId, startedAt);
      this.#report('deep', trigger, startedAt);
      return true;
    } catch (error) {
      if (!signal.aborted) this.#deepFailed(error, trigger, startedAt);
      return false;
    }
  }

  /** While a right is missing a probe comes soon, and with it the next look. */
  #rightsSeen(findings: readonly RightFinding[], error: unknown): void {
    const { clock, random, record } = this.#deps;
    if (this.#rights.isMissing) {
      const retryAtMs = this.#paces.deep.retryAtMs ?? clock.nowMs() + pauseAfterFailureMs(random());
      this.#paces.deep = { ...this.#paces.deep, retryAtMs };
    }
    record({ kind: 'rights', findings, ...(error === undefined ? {} : { error }) });
  }

  #bounded<T>(signal: AbortSignal, run: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const late = () => new ProviderError('timeout', 'the probe took too long');
    const limits = { timeoutMs: probeTimeouts * this.#deps.settings.timeoutMs, signal };
    return withDeadline(limits, late, this.#deps.clock, run);
  }

  /** What one probe was answered well is reason enough to try the other. */
  #succeeded(kind: ProbeKind): void {
    this.#paces[kind] = pace.succeeded(this.#paces[kind]);
    this.answeredWell();
  }

  #metadataFailed(error: unknown, trigger: Trigger, startedAt: Reading): void {
    const failure = metadataFailure(error);
    if (failure.reason === 'encryption_blocked') this.#succeeded('metadata');
    this.#failed('metadata', error, isOfOpenBao(error) && trigger !== 'bootstrap');
    this.#deps.cache.metadataFailed(failure);
    this.#report('metadata', trigger, startedAt, { failure, error });
  }

  #deepFailed(error: unknown, trigger: Trigger, startedAt: Reading): void {
    const failure = deepFailure(error);
    this.#failed('deep', error, trigger !== 'bootstrap');
    this.#deps.cache.deepFailed(failure);
    this.#report('deep', trigger, startedAt, { failure, error });
  }

  #failed(kind: ProbeKind, error: unknown, isCounted: boolean): void {
    const { clock, random } = this.#deps;
    const waitMs = retryAfterOf(error);
    this.#paces[kind] = pace.failed(this.#paces[kind], clock.nowMs(), { random: random(), isCounted, waitMs });
    if (isDenial(error)) this.#rights.want();
  }

  #report(probe: ProbeKind, trigger: Trigger, startedAt: Reading, failed?: FailedWith): void {
    const durationMs = this.#deps.clock.nowMs() - startedAt.nowMs;
    this.#deps.record({ kind: 'probe', probe, trigger, durationMs, ...(failed === undefined ? {} : { failed }) });
  }
}
