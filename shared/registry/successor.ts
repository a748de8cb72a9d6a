// Which state may follow which (spec/state 4.3). The plugin computes the next state, the supervisor decides again
// with this code: a plugin that was taken over cannot forge local history.

import { ProviderError } from '../errors/error.ts';
import { checkState, type RegistryState, type Snapshot, type SnapshotState } from './state.ts';

const allowedNext: Readonly<Record<'active' | 'retired' | 'pending', readonly SnapshotState[]>> = {
  active: ['active', 'retired'],
  retired: ['active', 'retired'],
  pending: ['pending', 'active', 'retired'],
};

/**
 * Refuses a state that may not follow its predecessor; without one it must be a first generation.
 *
 * @throws ProviderError `state_corrupt` (not valid in itself) or `state_rollback`
 */
export function checkSuccessor(predecessor: RegistryState | undefined, next: RegistryState): void {
  checkState(next);
  if (predecessor === undefined) return checkFirst(next);
  checkState(predecessor);
  if (next.identityFingerprint !== predecessor.identityFingerprint) throw illegal('has another fingerprint');
  // control: successor.generation
  if (next.generation !== predecessor.generation + 1) throw illegal('does not raise the generation by one');
  if (next.previousHash !== predecessor.currentHash) throw illegal('does not name its predecessor'); // control: successor.predecessor
  if (activeVersion(next) < activeVersion(predecessor)) throw illegal('lowers the active version'); // control: successor.active-version
  const nextById = new Map(next.snapshots.map((snapshot) => [snapshot.kubernetesKeyId, snapshot]));
  for (const was of predecessor.snapshots) checkRetained(was, nextById.get(was.kubernetesKeyId));
}

function checkFirst(next: RegistryState): void {
  if (next.generation !== 1 || next.previousHash !== '') throw illegal('is not a first generation');
  const [only] = next.snapshots;
  if (next.snapshots.length !== 1 || only?.transitVersion !== 1) throw illegal('bootstraps a rotated key');
}

function checkRetained(was: Snapshot, now: Snapshot | undefined): void {
  if (was.state === 'rejected') return;
  if (now === undefined) throw illegal('drops a record'); // control: successor.no-record-lost
  const isLegal = was.state === 'removed' ? isSame(was, now) : allowedNext[was.state].includes(now.state);
  if (!isLegal) throw illegal('changes a record in a way that no observation does');
}

function isSame(one: Snapshot, other: Snapshot): boolean {
  return JSON.stringify(Object.entries(one).sort()) === JSON.stringify(Object.entries(other).sort());
}

/**
 * Refuses a promotion before the full delay since its record was known stable (spec/state 4.4).
 *
 * @param known  the record that waits for activation, and for how long it has been on disk as stable
 * @throws ProviderError `state_rollback`
 */
export function checkPromotion(
  predecessor: RegistryState | undefined,
  next: RegistryState,
  known: { readonly keyId: string; readonly elapsedMs: number } | undefined,
  activationDelayMs: number,
): void {
  if (predecessor === undefined || next.activeKeyId === predecessor.activeKeyId) return;
  const isWaitOver = known?.keyId === next.activeKeyId && known.elapsedMs >= activationDelayMs; // control: successor.wait
  if (!isWaitOver) throw illegal('promotes a version before its activation delay');
}

/** The key_id of the record that waits for activation: pending and stable. */
export function stableKeyId(state: RegistryState | undefined): string | undefined {
  return state?.snapshots.find(({ state: kind, stableAtUnix }) => kind === 'pending' && stableAtUnix !== 0)
    ?.kubernetesKeyId;
}

/** The Transit version that encrypts in this state. */
export function activeVersion(state: RegistryState): number {
  return activeSnapshot(state).transitVersion;
}

/**
 * The active record.
 *
 * @throws ProviderError `state_corrupt` when there is none, which a checked state excludes
 */
export function activeSnapshot(state: RegistryState): Snapshot {
  const active = state.snapshots.find((snapshot) => snapshot.kubernetesKeyId === state.activeKeyId);
  if (active === undefined) throw new ProviderError('state_corrupt', 'the registry state has no active record');
  return active;
}

function illegal(what: string): ProviderError {
  return new ProviderError('state_rollback', `the proposed state ${what}`);
}
