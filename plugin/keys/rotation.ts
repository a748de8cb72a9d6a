// One observation of the key profile: which state follows. Pure: the same inputs give the same next state, and the
// supervisor checks that it is a legal successor (spec/rotation 2.1).

import { ProviderError } from '../../shared/errors/error.ts';
import { aheadOf, highestVersion, isWithinSize, maxNewRecords } from '../../shared/registry/belief.ts';
import { deriveKeyId, type Identity } from '../../shared/registry/key-id.ts';
import { type RegistryState, type Snapshot, sealState } from '../../shared/registry/state.ts';
import { activeSnapshot } from '../../shared/registry/successor.ts';
import { checkProfile, checkRegistry, type KeyProfile } from './profile.ts';
import { profileInvalid } from './profile-findings.ts';

export type AdvanceInput = {
  readonly state: RegistryState;
  readonly profile: KeyProfile;
  readonly keyName: string;
  /** Wall time, Unix seconds. */
  readonly nowUnix: number;
  /** `discover` stores what is new and neither counts nor promotes. */
  readonly mode: 'advance' | 'discover';
  /** Observations that make a candidate stable, at least 1. */
  readonly stableCount: number;
  /** Whether this observation may be counted (spec/rotation 2.3): not closer than half a probe interval to the last one. */
  readonly isCounted: boolean;
  /** Whether the activation wait of exactly this key_id is over; undefined: no wait is over. */
  readonly promotable: string | undefined;
  readonly rejectVersionRollback: boolean;
};

export type Observation = {
  readonly outcome: 'unchanged' | 'pending' | 'promoted';
  readonly state: RegistryState;
  readonly isEncryptionBlocked: boolean;
  /** The record that waits for activation: stable and not yet active. */
  readonly stable: Snapshot | undefined;
  readonly isClockRegressed: boolean;
  /** Newer versions are left for the next commit: one takes only so many. */
  readonly isPartial: boolean;
};

/**
 * Decides the next state.
 *
 * @throws ProviderError `profile_invalid` or `version_rollback`; nothing is stored then
 */
export function advance(input: AdvanceInput): Observation {
  const { state, profile } = input;
  checkProfile(profile, input.keyName);
  const active = activeSnapshot(state);
  if (profile.latestVersion < active.transitVersion && input.rejectVersionRollback) throw rollback(); // control: rotation.rollback
  checkRegistry(state.snapshots, profile);
  const isBlocked = profile.minEncryptionVersion > active.transitVersion;
  if (profile.latestVersion <= active.transitVersion) return unchanged(state, isBlocked);
  const unrecorded = unrecordedVersions(input, active);
  if (unrecorded.length > maxNewRecords) return advancePart(input, active, unrecorded, isBlocked);
  const candidate = candidateOf(input, active); // control: rotation.candidate
  if (input.mode === 'discover' && candidate.isKnown) return unchanged(state, isBlocked);
  const counted = input.mode === 'advance' ? count(candidate.snapshot, input) : seen(candidate.snapshot, input.nowUnix);
  const merged = merge(input, active, counted, profile.latestVersion);
  if (isPromotable(counted, input)) return promote(input, active, counted, merged);
  return pend(input, merged, counted, isBlocked);
}

/**
 * The first state of a key that was never rotated (spec/state 5.1).
 *
 * @throws ProviderError `state_unavailable` for a rotated key, else `profile_invalid`
 */
export function bootstrap(
  identity: Identity,
  identityFingerprint: string,
  profile: KeyProfile,
  keyName: string,
  nowUnix: number,
): RegistryState {
  const facts = {
    latestVersion: profile.latestVersion,
    minAvailableVersion: profile.minAvailableVersion,
    minDecryptionVersion: profile.minDecryptionVersion,
  };
  if (profile.latestVersion !== 1 || profile.minAvailableVersion > 1 || profile.minDecryptionVersion > 1) {
    const text =
      'no registry state, and none can be made for a key that was rotated or restricted; ' +
      'restore state and checkpoint from backup or from a peer with the same identity';
    throw new ProviderError('state_unavailable', text, { facts });
  }
  checkProfile(profile, keyName);
  if (profile.minEncryptionVersion > 1) {
    throw profileInvalid('min_encryption_version', 'min_encryption_version=above_1', 'version 1 may not encrypt');
  }
  const snapshot = newSnapshot(identity, profile, 1, 'active', nowUnix);
  checkCreated(snapshot, undefined, nowUnix);
  return sealState({
    identityFingerprint,
    generation: 1,
    previousHash: '',
    activeKeyId: snapshot.kubernetesKeyId,
    snapshots: [{ ...snapshot, promotedAtUnix: nowUnix }],
  });
}

function rollback(): ProviderError {
  return new ProviderError('version_rollback', 'the latest version of the Transit key went back; was it restored?');
}

function unchanged(state: RegistryState, isEncryptionBlocked: boolean): Observation {
  return {
    outcome: 'unchanged',
    state,
    isEncryptionBlocked,
    stable: undefined,
    isClockRegressed: false,
    isPartial: false,
  };
}

type Candidate = { readonly snapshot: Snapshot; readonly isKnown: boolean };

function candidateOf(input: AdvanceInput, active: Snapshot): Candidate {
  const fresh = newSnapshot(active, input.profile, input.profile.latestVersion, 'pending', 0);
  const known = input.state.snapshots.find((snapshot) => snapshot.kubernetesKeyId === fresh.kubernetesKeyId);
  if (known === undefined) {
    checkCreated(fresh, input.state, input.nowUnix);
    return { snapshot: fresh, isKnown: false };
  }
  if (known.state !== 'pending') throw retiredHere(known.transitVersion);
  return { snapshot: known, isKnown: true };
}

function retiredHere(version: number): ProviderError {
  const text = `version ${version} is newer than the active one and was retired on this node; bao-kms-provider restore-versions --versions ${version} plans its return`;
  const repair = `bao-kms-provider restore-versions --versions ${version}`;
  return profileInvalid('candidate_retired', 'latest_version=retired_here', text, {
    transitKeyVersion: version,
    repair,
  });
}

function newSnapshot(
  identity: Identity,
  profile: KeyProfile,
  version: number,
  state: 'active' | 'pending' | 'retired',
  observedAtUnix: number,
): Snapshot {
  const createdAtUnix = profile.versions.get(version);
  if (createdAtUnix === undefined) {
    const text = 'the creation time of a newer version is missing';
    throw profileInvalid('version_missing', 'keys=version_missing', text, { version });
  }
  const keyVersion = { transitVersion: version, transitVersionCreatedAtUnix: createdAtUnix };
  return {
    providerName: identity.providerName,
    clusterId: identity.clusterId,
    openbaoInstanceId: identity.openbaoInstanceId,
    openbaoNamespace: identity.openbaoNamespace,
    transitMountId: identity.transitMountId,
    transitKeyLineageId: identity.transitKeyLineageId,
    ...keyVersion,
    kubernetesKeyId: deriveKeyId(identity, keyVersion),
    state,
    observedAtUnix,
    stableObservationCount: 0,
    stableAtUnix: 0,
    promotedAtUnix: 0,
  };
}

function seen(snapshot: Snapshot, nowUnix: number): Snapshot {
  return { ...snapshot, observedAtUnix: snapshot.observedAtUnix || nowUnix };
}

function count(snapshot: Snapshot, input: AdvanceInput): Snapshot {
  const observed = seen(snapshot, input.nowUnix);
  const isOpen = input.isCounted && observed.stableObservationCount < input.stableCount;
  const stableObservationCount = observed.stableObservationCount + (isOpen ? 1 : 0);
  const isStable = stableObservationCount >= input.stableCount;
  const stableAtUnix = observed.stableAtUnix || (isStable ? Math.max(input.nowUnix, observed.observedAtUnix) : 0);
  return { ...observed, stableObservationCount, stableAtUnix };
}

/** Every record is kept; a superseded candidate retires; skipped versions come in as retired (a peer may use them). */
function merge(input: AdvanceInput, active: Snapshot, candidate: Snapshot, newest: number): Snapshot[] {
  const isCandidate = (snapshot: Snapshot) => snapshot.kubernetesKeyId === candidate.kubernetesKeyId;
  const kept = input.state.snapshots
    .filter((snapshot) => !isCandidate(snapshot))
    // control: rotation.superseded
    .map((snapshot) => (snapshot.state === 'pending' ? { ...snapshot, state: 'retired' as const } : snapshot));
  return [...kept, ...intermediates(input, active, newest), candidate];
}

/** @param newest  versions below it */
function intermediates(input: AdvanceInput, active: Snapshot, newest: number): Snapshot[] {
  // control: rotation.jumped-over
  const versions = unrecordedVersions(input, active).filter((version) => version < newest);
  return versions.map((version) => {
    const made = newSnapshot(active, input.profile, version, 'retired', input.nowUnix);
    checkCreated(made, input.state, input.nowUnix);
    return made;
  });
}

/** Above the active version, up to the latest one, ascending; one more than a commit may add at most. */
function unrecordedVersions({ state, profile }: AdvanceInput, active: Snapshot): readonly number[] {
  const isUsable = ({ state: kind }: Snapshot) => kind !== 'removed' && kind !== 'rejected';
  const recorded = new Set(state.snapshots.filter(isUsable).map(({ transitVersion }) => transitVersion));
  const found: number[] = [];
  for (let version = active.transitVersion + 1; version <= profile.latestVersion; version += 1) {
    if (!recorded.has(version)) found.push(version);
    if (found.length > maxNewRecords) break;
  }
  return found;
}

/**
 * A jump over more versions than one commit may add: the oldest of them now, the newest of those as the candidate, which the
 * next part supersedes. Nothing is counted on the way.
 */
function advancePart(
  input: AdvanceInput,
  active: Snapshot,
  unrecorded: readonly number[],
  isBlocked: boolean,
): Observation {
  const part = unrecorded.slice(0, maxNewRecords);
  const last = part.at(-1) ?? 0;
  const isNewest = last > highestVersion(input.state);
  const waiting = input.state.snapshots.find(({ state }) => state === 'pending');
  const candidate = isNewest ? newSnapshot(active, input.profile, last, 'pending', input.nowUnix) : waiting;
  if (candidate === undefined) throw retiredHere(highestVersion(input.state));
  if (isNewest) checkCreated(candidate, input.state, input.nowUnix);
  const merged = merge(input, active, candidate, isNewest ? last : last + 1);
  return { ...pend(input, merged, candidate, isBlocked), isPartial: true };
}

/** What no supervisor accepts is not proposed: the reason is told here instead (shared/registry/belief.ts). */
function checkCreated(one: Snapshot, state: RegistryState | undefined, nowUnix: number): void {
  const createdAtUnix = one.transitVersionCreatedAtUnix;
  const facts = { transitKeyVersion: one.transitVersion, createdAtUnix };
  const active = state && activeSnapshot(state);
  if (active !== undefined && createdAtUnix < active.transitVersionCreatedAtUnix) {
    const text = `version ${one.transitVersion} is older than the active version; compare the clocks of the OpenBao nodes`;
    throw profileInvalid('version_before_active', 'keys=created_before_active', text, facts);
  }
  if (aheadOf(state, nowUnix)(createdAtUnix)) {
    const text = `version ${one.transitVersion} was created more than a day ahead of the clock of this node; correct the clock`;
    throw profileInvalid('version_ahead_of_clock', 'keys=created_in_the_future', text, facts);
  }
}

function isPromotable(candidate: Snapshot, input: AdvanceInput): boolean {
  return (
    input.mode === 'advance' &&
    candidate.stableAtUnix !== 0 &&
    candidate.stableObservationCount >= input.stableCount && // control: rotation.stable-count
    input.promotable === candidate.kubernetesKeyId // control: rotation.promotable
  );
}

function promote(input: AdvanceInput, active: Snapshot, candidate: Snapshot, merged: readonly Snapshot[]): Observation {
  // control: rotation.min-encryption-version
  if (input.profile.minEncryptionVersion > candidate.transitVersion) {
    const field = 'min_encryption_version=above_newest';
    throw profileInvalid('min_encryption_version', field, 'the newest version may not encrypt');
  }
  const promotedAtUnix = Math.max(input.nowUnix, candidate.observedAtUnix, candidate.stableAtUnix);
  const snapshots = merged.map((snapshot): Snapshot => {
    if (snapshot.kubernetesKeyId === candidate.kubernetesKeyId) return { ...snapshot, state: 'active', promotedAtUnix };
    if (snapshot.kubernetesKeyId !== active.kubernetesKeyId) return snapshot;
    return { ...snapshot, state: 'retired', stableObservationCount: 0, stableAtUnix: 0 }; // control: rotation.retired
  });
  const state = successor(input.state, snapshots, candidate.kubernetesKeyId);
  if (!isWithinSize(state)) return unchanged(input.state, false);
  checkRegistry(state.snapshots, input.profile);
  const isClockRegressed = promotedAtUnix > input.nowUnix;
  return {
    outcome: 'promoted',
    state,
    isEncryptionBlocked: false,
    stable: undefined,
    isClockRegressed,
    isPartial: false,
  };
}

function pend(
  input: AdvanceInput,
  merged: readonly Snapshot[],
  candidate: Snapshot,
  isEncryptionBlocked: boolean,
): Observation {
  const stable = candidate.stableAtUnix === 0 ? undefined : candidate;
  const next = successor(input.state, merged, input.state.activeKeyId);
  if (isSameRecords(next.snapshots, input.state.snapshots)) {
    return { ...unchanged(input.state, isEncryptionBlocked), stable };
  }
  // A full registry goes on with what it has (see the warning about a large one).
  if (!isWithinSize(next)) return unchanged(input.state, isEncryptionBlocked);
  checkRegistry(next.snapshots, input.profile);
  const isClockRegressed = stable !== undefined && stable.stableAtUnix > input.nowUnix;
  return { outcome: 'pending', state: next, isEncryptionBlocked, stable, isClockRegressed, isPartial: false };
}

function isSameRecords(next: readonly Snapshot[], before: readonly Snapshot[]): boolean {
  const byId = new Map(
    before.map((snapshot) => [snapshot.kubernetesKeyId, JSON.stringify(Object.entries(snapshot).sort())]),
  );
  return (
    next.length === before.length &&
    next.every((snapshot) => byId.get(snapshot.kubernetesKeyId) === JSON.stringify(Object.entries(snapshot).sort()))
  );
}

const priority: Readonly<Record<Snapshot['state'], number>> = {
  active: 0,
  pending: 1,
  retired: 2,
  rejected: 3,
  removed: 4,
};

function successor(before: RegistryState, snapshots: readonly Snapshot[], activeKeyId: string): RegistryState {
  const ordered = [...snapshots].sort(
    (one, other) =>
      priority[one.state] - priority[other.state] ||
      other.transitVersion - one.transitVersion ||
      Buffer.compare(Buffer.from(one.kubernetesKeyId), Buffer.from(other.kubernetesKeyId)),
  );
  return sealState({
    identityFingerprint: before.identityFingerprint,
    generation: before.generation + 1,
    previousHash: before.currentHash,
    activeKeyId,
    snapshots: ordered,
  });
}
