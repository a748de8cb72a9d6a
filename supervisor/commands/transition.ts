// Retirement, restoration and forgetting of versions: which state follows from what an operator asks for. Pure. The only
// transitions that the rules of succession do not allow (spec/rotation 5.1).

import { ProviderError } from '../../shared/errors/error.ts';
import { deriveKeyId } from '../../shared/registry/key-id.ts';
import { type RegistryState, type Snapshot, sealState } from '../../shared/registry/state.ts';
import { activeSnapshot } from '../../shared/registry/successor.ts';
import { hashText } from '../../shared/text/hash.ts';

export type Transition = {
  readonly next: RegistryState;
  readonly removed: readonly Snapshot[];
  readonly restored: readonly Snapshot[];
  readonly forgotten: readonly Snapshot[];
  /** Recorded anew, as OpenBao has it. */
  readonly corrected: Snapshot | undefined;
  /** What waits for activation afterwards and did not before. */
  readonly waiting: Snapshot | undefined;
};

/**
 * Every retired record below a version becomes removed; active, pending and other records are not touched.
 *
 * @param beforeVersion  2 to the active version
 * @throws ProviderError `transition_refused`
 */
export function retireVersions(state: RegistryState, beforeVersion: number): Transition {
  const active = activeSnapshot(state).transitVersion;
  if (active < 2) throw refused(`version ${active} is the active version, and there is none below it to retire`);
  if (beforeVersion < 2 || beforeVersion > active) {
    throw refused(`--before-version must be between 2 and the active version ${active}`);
  }
  const isRetired = (one: Snapshot) => one.state === 'retired' && one.transitVersion < beforeVersion;
  const removed = state.snapshots.filter(isRetired);
  const next = withRecords(state, changed(state, removed, 'removed'), removed.length > 0);
  return { ...noChange(next), removed };
}

/**
 * Each named record that is removed becomes retired. The newest version of all, when it is above the active one, waits for
 * activation again: removed or retired, it was never active.
 *
 * @param selectors  versions, or key-ID hashes where two removed records share a version
 * @throws ProviderError `transition_refused`
 */
export function restoreVersions(state: RegistryState, selectors: readonly string[]): Transition {
  if (new Set(selectors).size !== selectors.length) throw refused('--versions names a version twice');
  const restored = selectors.map((selector) => selectRemoved(state, selector));
  if (new Set(restored).size !== restored.length) throw refused('--versions names one record twice');
  const { records, waiting } = withCandidate(state, changed(state, restored, 'retired'));
  return { ...noChange(withRecords(state, records, true)), restored, waiting };
}

/** What live metadata says of a state. */
export type LiveEvidence = {
  /** Recorded, never active, and not so in OpenBao. */
  readonly contradicted: readonly number[];
  /** When OpenBao made version 1, if the record of it was wrong from the start, Unix seconds. */
  readonly correctedFirstAtUnix: number | undefined;
};

/**
 * Drops records that were never active and that OpenBao does not have as they are recorded. The newest version that remains
 * waits for activation when it is above the active one. Version 1, while nothing else was ever active, is recorded anew when it
 * was wrong from the start.
 *
 * @throws ProviderError `transition_refused`
 */
export function forgetVersions(state: RegistryState, versions: readonly number[], live: LiveEvidence): Transition {
  if (new Set(versions).size !== versions.length) throw refused('--versions names a version twice');
  const corrected = versions.includes(1) ? correctFirst(state, live.correctedFirstAtUnix) : undefined;
  const dropped = versions.filter((version) => version !== 1 || corrected === undefined);
  const forgotten = dropped.map((version) => selectForgettable(state, version, live.contradicted));
  const left = state.snapshots.filter((one) => !forgotten.includes(one));
  const { records, waiting } = withCandidate(state, left);
  if (corrected === undefined) return { ...noChange(withRecords(state, records, true)), forgotten, waiting };
  const anew = records.map((one) => (one.state === 'active' ? corrected : one));
  const next = withRecords(state, anew, true, corrected.kubernetesKeyId);
  return { ...noChange(next), forgotten: [activeSnapshot(state), ...forgotten], waiting, corrected };
}

/** Version 1 as OpenBao has it. @returns undefined: its record is not one that may be corrected */
function correctFirst(state: RegistryState, createdAtUnix: number | undefined): Snapshot | undefined {
  const active = activeSnapshot(state);
  const others = state.snapshots.filter((one) => one !== active);
  // control: transition.correct-first
  const isOnly = active.transitVersion === 1 && others.every(({ promotedAtUnix }) => promotedAtUnix === 0);
  if (!isOnly || createdAtUnix === undefined) return undefined;
  const anew = { ...active, transitVersionCreatedAtUnix: createdAtUnix };
  return { ...anew, kubernetesKeyId: deriveKeyId(anew, anew) };
}

function selectForgettable(state: RegistryState, version: number, contradicted: readonly number[]): Snapshot {
  const found = state.snapshots.filter(({ transitVersion }) => transitVersion === version);
  const [only] = found;
  if (only === undefined) throw refused(`version ${version} is not recorded`);
  if (found.length > 1) throw refused(`version ${version} is recorded ${found.length} times`);
  if (only.state === 'active' || only.promotedAtUnix !== 0) {
    throw refused(`version ${version} is or was active on this node: something may be encrypted with it`);
  }
  if (only.state !== 'pending' && only.state !== 'retired') throw refused(`version ${version} is ${only.state}`);
  if (!contradicted.includes(version)) {
    throw refused(`OpenBao has version ${version} as it is recorded here, or its minimums hide it`);
  }
  return only;
}

function noChange(next: RegistryState): Transition {
  return { next, removed: [], restored: [], forgotten: [], corrected: undefined, waiting: undefined };
}

/** What no plugin may do: the newest version above the active one waits again, counted from the start. */
function withCandidate(
  state: RegistryState,
  records: readonly Snapshot[],
): { readonly records: readonly Snapshot[]; readonly waiting: Snapshot | undefined } {
  const newest = records.reduce((one, other) => (other.transitVersion > one.transitVersion ? other : one));
  const isNew = newest.transitVersion > activeSnapshot(state).transitVersion && newest.promotedAtUnix === 0;
  if (!isNew || newest.state !== 'retired') return { records, waiting: undefined };
  const waiting: Snapshot = { ...newest, state: 'pending', stableObservationCount: 0, stableAtUnix: 0 };
  return { records: records.map((one) => (one === newest ? waiting : one)), waiting };
}

function selectRemoved(state: RegistryState, selector: string): Snapshot {
  const isVersion = /^[1-9][0-9]{0,9}$/u.test(selector);
  if (isVersion && Number(selector) === activeSnapshot(state).transitVersion) {
    throw refused(`version ${selector} is the active version`);
  }
  const fits = (one: Snapshot) =>
    isVersion ? one.transitVersion === Number(selector) : hashText(one.kubernetesKeyId) === selector;
  const isSkipped = (one: Snapshot) => one.state === 'retired' && one === newestOf(state);
  const found = state.snapshots.filter((one) => (one.state === 'removed' || isSkipped(one)) && fits(one));
  const what = isVersion ? `version ${selector}` : 'a key-ID hash';
  if (found.length > 1) throw refused(`${what} names ${found.length} removed records; name one by its key-ID hash`);
  const [only] = found;
  if (only === undefined) throw refused(`${what} is not one that retire-versions retired on this node`);
  return only;
}

/** The newest version of all, when it is above the active one. */
function newestOf(state: RegistryState): Snapshot | undefined {
  const newest = state.snapshots.reduce((one, other) => (other.transitVersion > one.transitVersion ? other : one));
  return newest.transitVersion > activeSnapshot(state).transitVersion ? newest : undefined;
}

/** The order of the records stays. */
function changed(state: RegistryState, chosen: readonly Snapshot[], kind: 'removed' | 'retired'): readonly Snapshot[] {
  return state.snapshots.map((one) => (chosen.includes(one) ? { ...one, state: kind } : one));
}

/** Without a change the state stays the same. */
function withRecords(
  state: RegistryState,
  snapshots: readonly Snapshot[],
  isChanged: boolean,
  activeKeyId = state.activeKeyId,
): RegistryState {
  if (!isChanged) return state;
  return sealState({
    identityFingerprint: state.identityFingerprint,
    generation: state.generation + 1,
    previousHash: state.currentHash,
    activeKeyId,
    snapshots,
  });
}

export function refused(what: string): ProviderError {
  return new ProviderError('transition_refused', `${what}; nothing was changed`);
}
