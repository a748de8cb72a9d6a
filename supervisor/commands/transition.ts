// Retirement and restoration of versions: which state follows from what an operator asks for. Pure. The only transitions that
// the rules of succession do not allow (rotation 11).

import { ProviderError } from '../../shared/errors/error.ts';
import { type RegistryState, type Snapshot, sealState } from '../../shared/registry/state.ts';
import { activeSnapshot } from '../../shared/registry/successor.ts';
import { hashText } from '../../shared/text/hash.ts';

export type Transition = {
  readonly next: RegistryState;
  readonly removed: readonly Snapshot[];
  readonly restored: readonly Snapshot[];
};

/**
 * Every retired record below a version becomes removed; active, pending and other records are not touched.
 *
 * @param beforeVersion  2 to the active version
 * @throws ProviderError `transition_refused`
 */
export function retireVersions(state: RegistryState, beforeVersion: number): Transition {
  const active = activeSnapshot(state).transitVersion;
  if (beforeVersion < 2 || beforeVersion > active) {
    throw refused(`--before-version must be between 2 and the active version ${active}`);
  }
  const isRetired = (one: Snapshot) => one.state === 'retired' && one.transitVersion < beforeVersion;
  const removed = state.snapshots.filter(isRetired);
  const next = withStates(state, removed, 'removed');
  return { next, removed, restored: [] };
}

/**
 * Each named record that is removed becomes retired.
 *
 * @param selectors  versions, or key-ID hashes where two removed records share a version
 * @throws ProviderError `transition_refused`
 */
export function restoreVersions(state: RegistryState, selectors: readonly string[]): Transition {
  if (new Set(selectors).size !== selectors.length) throw refused('--versions names one twice');
  const restored = selectors.map((selector) => selectRemoved(state, selector));
  if (new Set(restored).size !== restored.length) throw refused('--versions names one record twice');
  return { next: withStates(state, restored, 'retired'), removed: [], restored };
}

function selectRemoved(state: RegistryState, selector: string): Snapshot {
  const isVersion = /^[1-9][0-9]{0,9}$/u.test(selector);
  if (isVersion && Number(selector) >= activeSnapshot(state).transitVersion) {
    throw refused(`version ${selector} is not below the active version`);
  }
  const fits = (one: Snapshot) =>
    isVersion ? one.transitVersion === Number(selector) : hashText(one.kubernetesKeyId) === selector;
  const found = state.snapshots.filter((one) => one.state === 'removed' && fits(one));
  const what = isVersion ? `version ${selector}` : 'a key-ID hash';
  if (found.length > 1) throw refused(`${what} names ${found.length} removed records; name one by its key-ID hash`);
  const [only] = found;
  if (only === undefined) throw refused(`${what} names no removed record`);
  return only;
}

/** The order of the records stays; without a change the state stays the same. */
function withStates(state: RegistryState, chosen: readonly Snapshot[], kind: 'removed' | 'retired'): RegistryState {
  if (chosen.length === 0) return state;
  return sealState({
    identityFingerprint: state.identityFingerprint,
    generation: state.generation + 1,
    previousHash: state.currentHash,
    activeKeyId: state.activeKeyId,
    snapshots: state.snapshots.map((one) => (chosen.includes(one) ? { ...one, state: kind } : one)),
  });
}

export function refused(what: string): ProviderError {
  return new ProviderError('transition_refused', `${what}; nothing was changed`);
}
