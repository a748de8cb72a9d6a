// The worked examples that both formats share, and builders of records and states from them.

import type { KeyProfile } from '../../plugin/keys/profile.ts';
import type { BoundIdentity } from '../../shared/registry/fingerprint.ts';
import { deriveKeyId } from '../../shared/registry/key-id.ts';
import { type RegistryState, type Snapshot, type StateContent, sealState } from '../../shared/registry/state.ts';

export const identity: BoundIdentity = {
  providerName: 'edge-kms',
  clusterId: 'edge-cluster-07',
  openbaoInstanceId: 'bao-lab-01',
  openbaoNamespace: 'teams/platform',
  transitMountId: 'mnt-5f2c',
  transitKeyLineageId: 'lin-2025-a1',
  transitMountPath: 'platform/transit',
  transitKeyName: 'edge-etcd',
};

export const fingerprint = 'cfg1.bKFJ5TW660WDSp6EYtuVoX7uBc6wP9s9241ievvUi6I';
export const createdAtUnix = 1_749_990_000;

export function snapshot(version: number, change: Partial<Snapshot> = {}): Snapshot {
  const { transitMountPath: _path, transitKeyName: _name, ...labels } = identity;
  const made = {
    ...labels,
    transitVersion: version,
    transitVersionCreatedAtUnix: createdAtUnix + version - 1,
    state: 'active' as const,
    observedAtUnix: 1_750_000_100,
    stableObservationCount: 0,
    stableAtUnix: 0,
    promotedAtUnix: 1_750_000_100,
    ...change,
  };
  return { kubernetesKeyId: deriveKeyId(made, made), ...made };
}

export function content(change: Partial<StateContent> = {}): StateContent {
  const snapshots = change.snapshots ?? [snapshot(1)];
  const activeKeyId = snapshots.find(({ state }) => state === 'active')?.kubernetesKeyId ?? '';
  return { identityFingerprint: fingerprint, generation: 1, previousHash: '', activeKeyId, snapshots, ...change };
}

export function firstState(): RegistryState {
  return sealState(content());
}

/** A legal successor with these records. */
export function nextState(before: RegistryState, snapshots: readonly Snapshot[]): RegistryState {
  return sealState(content({ snapshots, generation: before.generation + 1, previousHash: before.currentHash }));
}

export function profile(latestVersion: number, change: Partial<KeyProfile> = {}): KeyProfile {
  const versions = new Map(
    Array.from({ length: latestVersion }, (_, index) => [index + 1, createdAtUnix + index] as const),
  );
  return {
    name: identity.transitKeyName,
    type: 'aes256-gcm96',
    latestVersion,
    minAvailableVersion: 0,
    minEncryptionVersion: 0,
    minDecryptionVersion: 1,
    versions,
    isDerived: false,
    isConvergent: false,
    isExportable: false,
    isPlaintextBackupAllowed: false,
    isDeletionAllowed: false,
    isSoftDeleted: false,
    isImported: false,
    supportsEncryption: true,
    supportsDecryption: true,
    autoRotatePeriodSeconds: 0,
    ...change,
  };
}
