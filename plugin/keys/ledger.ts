// What a plugin knows about its keys between two metadata probes, and what one probe does with what it read: which state is
// saved, which candidate has to prove itself, what is published, and in which order. No I/O and no clock of its own: it yields
// each effect and goes on with its answer, so that every order of answers and crashes can be tried (`npm run explore`).

import { ProviderError } from '../../shared/errors/error.ts';
import type { Identity } from '../../shared/registry/key-id.ts';
import type { RegistryState, Snapshot } from '../../shared/registry/state.ts';
import { activeSnapshot } from '../../shared/registry/successor.ts';
import { type ActivationWait, afterObservation, elapsedKeyId } from './activation-wait.ts';
import { isBookkeepingOnly } from './pending-commit.ts';
import type { KeyProfile } from './profile.ts';
import * as rotation from './rotation.ts';

/** Changed by `advance` only; times are of the caller's monotonic clock. */
export type Ledger = {
  /** Status, Encrypt and Decrypt see this and nothing else. */
  published: RegistryState | undefined;
  /** Proposed, and not known to be on disk. */
  pendingCommit: { readonly attempted: RegistryState; readonly predecessor: RegistryState | undefined } | undefined;
  wait: ActivationWait;
  lastCountedAtMs: number;
};

export type LedgerSettings = {
  readonly identity: Identity;
  readonly identityFingerprint: string;
  readonly keyName: string;
  readonly stableCount: number;
  readonly activationDelayMs: number;
  readonly probeIntervalMs: number;
  readonly rejectVersionRollback: boolean;
};

/** What the supervisor said to a proposed state. */
export type CommitOutcome = {
  readonly outcome: 'saved' | 'refused' | 'failed';
  readonly onDisk: 'predecessor' | 'attempted' | 'other' | 'unreadable';
  /** Why it failed, where that is known: a word for the log and for /ready. */
  readonly finding?: string;
};

export type LedgerEffect =
  /** Answer: a CommitOutcome. */
  | { readonly kind: 'save'; readonly state: RegistryState }
  /** A candidate encrypts and decrypts; answer: whether it could. */
  | { readonly kind: 'prove'; readonly candidate: Snapshot }
  /** Everybody sees this state from now on. */
  | {
      readonly kind: 'publish';
      readonly state: RegistryState;
      /** The new active key has just passed its own deep probe. */
      readonly isDeepProven: boolean;
    }
  /** The published state is right although bookkeeping could not be saved (spec/state 4.5). */
  | { readonly kind: 'confirm_unsaved' }
  | { readonly kind: 'promoted'; readonly previous: Snapshot; readonly active: Snapshot }
  | { readonly kind: 'clock_regressed' };

/** As many commits as the supervisor decides at once. */
const partsPerProbe = 4;

export type LedgerAnswer = CommitOutcome | boolean | undefined;
export type ProbeOutcome = 'done' | 'unsaved' | 'encryption_blocked';
export type ProbeSteps<T> = Generator<LedgerEffect, T, LedgerAnswer>;

export type Reading = {
  readonly profile: KeyProfile;
  /** `advance` counts and promotes, `discover` only stores what is new. */
  readonly mode: 'advance' | 'discover';
  /** When the probe began. */
  readonly startedAtMs: number;
  readonly nowUnix: number;
  readonly nowMs: () => number;
  /** Whether the active key's latest deep probe succeeded. */
  readonly isDeepGood: boolean;
};

/**
 * One metadata probe after its reads (spec/rotation 3.1).
 *
 * @throws ProviderError `profile_invalid`, `version_rollback`, `state_unavailable`, `state_save_failed`
 */
export function* advance(ledger: Ledger, settings: LedgerSettings, reading: Reading): ProbeSteps<ProbeOutcome> {
  const known = (yield* finishPendingCommit(ledger, settings, reading)) ?? ledger.published;
  if (known === undefined) return yield* makeFirstState(ledger, settings, reading);
  const base = yield* catchUp(ledger, settings, reading, known);
  const isCounted = reading.startedAtMs - ledger.lastCountedAtMs >= settings.probeIntervalMs / 2; // control: ledger.spacing
  const look = (promotable: string | undefined) =>
    rotation.advance({ ...inputOf(base, settings, reading, isCounted), promotable });
  const found = look(elapsedKeyId(ledger.wait, reading.nowMs()));
  const isProven = found.outcome !== 'promoted' || (yield* prove(found)); // control: ledger.prove
  const result = isProven ? found : look(undefined);
  // control: ledger.save-first
  const isSaved = result.outcome === 'unchanged' || (yield* save(ledger, settings, reading, result.state, base));
  if (!isSaved) {
    yield { kind: 'confirm_unsaved' };
    return 'unsaved';
  }
  if (isCounted && reading.mode === 'advance') ledger.lastCountedAtMs = reading.startedAtMs;
  yield* publish(ledger, result.state, result.outcome === 'promoted');
  if (reading.mode === 'advance') {
    const stable = result.stable?.kubernetesKeyId;
    ledger.wait = afterObservation(ledger.wait, stable, settings.activationDelayMs, reading.nowMs());
  }
  if (result.isClockRegressed) yield { kind: 'clock_regressed' };
  return result.isEncryptionBlocked ? 'encryption_blocked' : 'done';
}

/**
 * Takes a jump over many versions in parts, each saved and published. What is left after a few of them is for the next probe.
 *
 * @returns the base of the observation
 * @throws ProviderError as `advance`
 */
function* catchUp(
  ledger: Ledger,
  settings: LedgerSettings,
  reading: Reading,
  from: RegistryState,
): ProbeSteps<RegistryState> {
  let base = from;
  for (let part = 0; part < partsPerProbe; part += 1) {
    const found = rotation.advance({ ...inputOf(base, settings, reading, false), promotable: undefined });
    if (!found.isPartial || found.outcome === 'unchanged') break;
    yield* save(ledger, settings, reading, found.state, base);
    yield* publish(ledger, found.state, false);
    base = found.state;
  }
  return base;
}

/** Only looks, for a plugin that is not the incumbent yet (spec/rotation 3.3). @returns whether encryption is blocked */
export function checkKey(state: RegistryState | undefined, settings: LedgerSettings, profile: KeyProfile): boolean {
  if (state === undefined) throw new ProviderError('state_unavailable', 'no registry state yet');
  return lookOnly(state, settings, profile).isEncryptionBlocked;
}

function inputOf(state: RegistryState, settings: LedgerSettings, reading: Reading, isCounted: boolean) {
  const { keyName, stableCount, rejectVersionRollback } = settings;
  const { profile, mode, nowUnix } = reading;
  return { state, profile, keyName, nowUnix, mode, stableCount, isCounted, rejectVersionRollback };
}

/** Discovery mode, its result thrown away. */
function lookOnly(state: RegistryState, settings: LedgerSettings, profile: KeyProfile): rotation.Observation {
  const { keyName, stableCount, rejectVersionRollback } = settings;
  const fixed = { mode: 'discover', nowUnix: 0, isCounted: false, promotable: undefined } as const;
  return rotation.advance({ state, profile, keyName, stableCount, rejectVersionRollback, ...fixed });
}

function* makeFirstState(ledger: Ledger, settings: LedgerSettings, reading: Reading): ProbeSteps<ProbeOutcome> {
  const { identity, identityFingerprint, keyName } = settings;
  const state = rotation.bootstrap(identity, identityFingerprint, reading.profile, keyName, reading.nowUnix);
  yield* save(ledger, settings, reading, state, undefined);
  yield* publish(ledger, state, false);
  return 'done';
}

/** A candidate encrypts and decrypts before anything is proposed, so Status never dips (spec/rotation 3.2). */
function* prove(found: rotation.Observation): ProbeSteps<boolean> {
  return (yield { kind: 'prove', candidate: activeSnapshot(found.state) }) === true;
}

function* publish(ledger: Ledger, state: RegistryState, isDeepProven: boolean): ProbeSteps<void> {
  const before = ledger.published;
  ledger.published = state;
  ledger.pendingCommit = undefined;
  yield { kind: 'publish', state, isDeepProven };
  if (before === undefined || before.activeKeyId === state.activeKeyId) return;
  yield { kind: 'promoted', previous: activeSnapshot(before), active: activeSnapshot(state) };
}

/**
 * @returns false when only bookkeeping could not be saved and everything else is proven
 * @throws ProviderError `state_save_failed`
 */
function* save(
  ledger: Ledger,
  settings: LedgerSettings,
  reading: Reading,
  state: RegistryState,
  predecessor: RegistryState | undefined,
): ProbeSteps<boolean> {
  ledger.pendingCommit = { attempted: state, predecessor };
  const { outcome, onDisk, finding } = (yield { kind: 'save', state }) as CommitOutcome;
  if (outcome === 'saved') {
    ledger.pendingCommit = undefined;
    return true;
  }
  const isUntouched = outcome === 'failed' && onDisk === 'predecessor';
  if (isUntouched && isDeferrable(ledger, settings, reading, state, predecessor)) return false;
  const facts = { outcome, onDisk, ...(finding === undefined ? {} : { finding }) };
  throw new ProviderError('state_save_failed', 'the registry state could not be saved', { facts });
}

/** Bookkeeping only, and the predecessor is still right in every respect (spec/state 4.5). */
function isDeferrable(
  ledger: Ledger,
  settings: LedgerSettings,
  reading: Reading,
  state: RegistryState,
  predecessor: RegistryState | undefined,
): boolean {
  if (predecessor === undefined || !isBookkeepingOnly(predecessor, state)) return false;
  if (ledger.published?.currentHash !== predecessor.currentHash || !reading.isDeepGood) return false;
  const again = lookOnly(predecessor, settings, reading.profile);
  return again.outcome === 'unchanged' && !again.isEncryptionBlocked;
}

/** Proposes the very same bytes again; what comes back is the base of this probe's observation. */
function* finishPendingCommit(
  ledger: Ledger,
  settings: LedgerSettings,
  reading: Reading,
): ProbeSteps<RegistryState | undefined> {
  const pending = ledger.pendingCommit;
  if (pending === undefined) return undefined;
  const { attempted, predecessor } = pending;
  if (!(yield* save(ledger, settings, reading, attempted, predecessor))) return predecessor;
  yield* publish(ledger, attempted, false);
  return attempted;
}
