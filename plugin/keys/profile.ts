// The key profile: what OpenBao says about the Transit key, and whether that is acceptable. One finding is enough to be
// unhealthy and to refuse Encrypt (openbao-client 6, rotation 3).

import { ProviderError } from '../../shared/errors/error.ts';
import { greatestTransitVersion } from '../../shared/registry/key-id.ts';
import type { Snapshot } from '../../shared/registry/state.ts';

/** Metadata of the Transit key. Versions → creation in whole Unix seconds, only those not below min_decryption_version. */
export type KeyProfile = {
  readonly name: string;
  readonly type: string;
  readonly latestVersion: number;
  readonly minAvailableVersion: number;
  readonly minEncryptionVersion: number;
  readonly minDecryptionVersion: number;
  readonly versions: ReadonlyMap<number, number>;
  readonly isDerived: boolean;
  readonly isConvergent: boolean;
  readonly isExportable: boolean;
  readonly isPlaintextBackupAllowed: boolean;
  readonly isDeletionAllowed: boolean;
  readonly isSoftDeleted: boolean;
  readonly isImported: boolean;
  readonly supportsEncryption: boolean;
  readonly supportsDecryption: boolean;
  readonly autoRotatePeriodSeconds: number;
};

export const transitKeyType = 'aes256-gcm96';

/** What can be wrong with the key: what the metadata says by itself, then what the state makes of it. */
export const profileFindings = [
  'unsupported_type',
  'name',
  'latest_version',
  'min_available_version',
  'soft_deleted',
  'exportable',
  'plaintext_backup',
  'deletion_allowed',
  'derived',
  'convergent',
  'min_encryption_version',
  'min_decryption_version',
  'encryption_unsupported',
  'decryption_unsupported',
  'versions',
  'latest_created_at',
  'version_unavailable',
  'version_cannot_decrypt',
  'version_missing',
  'version_recreated',
  'candidate_retired',
] as const;
export type ProfileFinding = (typeof profileFindings)[number];

type Finding = {
  readonly code: ProfileFinding;
  readonly text: string;
  readonly isPresent: (profile: KeyProfile) => boolean;
};

const findings: readonly Finding[] = [
  { code: 'latest_version', text: 'latest version is not positive', isPresent: (p) => p.latestVersion < 1 },
  {
    code: 'min_available_version',
    text: 'minimum available version is negative',
    isPresent: (p) => p.minAvailableVersion < 0,
  },
  { code: 'soft_deleted', text: 'key is soft-deleted', isPresent: (p) => p.isSoftDeleted },
  {
    code: 'min_available_version',
    text: 'minimum available version is above the latest version',
    isPresent: (p) => p.minAvailableVersion > p.latestVersion,
  },
  { code: 'exportable', text: 'key material export is enabled', isPresent: (p) => p.isExportable },
  { code: 'plaintext_backup', text: 'plaintext backup is enabled', isPresent: (p) => p.isPlaintextBackupAllowed },
  { code: 'deletion_allowed', text: 'key deletion is allowed', isPresent: (p) => p.isDeletionAllowed },
  { code: 'derived', text: 'derived key mode is enabled', isPresent: (p) => p.isDerived },
  { code: 'convergent', text: 'convergent encryption is enabled', isPresent: (p) => p.isConvergent },
  {
    code: 'min_encryption_version',
    text: 'minimum encryption version is above the latest version',
    isPresent: (p) => p.minEncryptionVersion > p.latestVersion,
  },
  {
    code: 'min_decryption_version',
    text: 'minimum decryption version is above the latest version',
    isPresent: (p) => p.minDecryptionVersion > p.latestVersion,
  },
  { code: 'encryption_unsupported', text: 'key cannot encrypt', isPresent: (p) => !p.supportsEncryption },
  { code: 'decryption_unsupported', text: 'key cannot decrypt', isPresent: (p) => !p.supportsDecryption },
];

/**
 * Refuses an unacceptable profile, first finding first.
 *
 * @param keyName  the configured name; a profile of another key is refused
 * @throws ProviderError `profile_invalid`; facts: finding
 */
export function checkProfile(profile: KeyProfile, keyName: string): void {
  if (profile.type !== transitKeyType) throw profileInvalid('unsupported_type', `key type is not ${transitKeyType}`);
  if (profile.name !== keyName) throw profileInvalid('name', 'the metadata is of another key');
  for (const { code, text, isPresent } of findings) if (isPresent(profile)) throw profileInvalid(code, text);
  for (const [version, createdAtUnix] of profile.versions) checkVersion(version, createdAtUnix, profile);
  if (!profile.versions.has(profile.latestVersion)) {
    throw profileInvalid('latest_created_at', 'the creation time of the latest version is missing');
  }
}

function checkVersion(version: number, createdAtUnix: number, profile: KeyProfile): void {
  const isPlausible = version >= 1 && version <= profile.latestVersion && createdAtUnix >= 1;
  if (!isPlausible || version > greatestTransitVersion) {
    throw profileInvalid('versions', 'a version or its creation time is out of range');
  }
}

/**
 * Checks that every usable record is still served by OpenBao under the identity it was accepted with (rotation 4).
 *
 * @throws ProviderError `profile_invalid`; facts: finding, transitKeyVersion, and both seconds when a time moved
 */
export function checkRegistry(snapshots: readonly Snapshot[], profile: KeyProfile): void {
  for (const snapshot of snapshots) {
    if (snapshot.state !== 'removed' && snapshot.state !== 'rejected') checkSnapshotServed(snapshot, profile);
  }
}

/**
 * Whether a key serves a whole state: acceptable, not gone back, and every usable record still there (rotation 11, step 6).
 * Says nothing about `min_encryption_version`.
 *
 * @throws ProviderError `profile_invalid` or `version_rollback`
 */
export function checkServed(
  snapshots: readonly Snapshot[],
  activeKeyId: string,
  profile: KeyProfile,
  keyName: string,
): void {
  checkProfile(profile, keyName);
  const active = snapshots.find(({ kubernetesKeyId }) => kubernetesKeyId === activeKeyId);
  if (active !== undefined && profile.latestVersion < active.transitVersion) {
    throw new ProviderError('version_rollback', 'the latest version of the Transit key went back; was it restored?');
  }
  checkRegistry(snapshots, profile);
}

function checkSnapshotServed(snapshot: Snapshot, profile: KeyProfile): void {
  const version = snapshot.transitVersion;
  const facts = { transitKeyVersion: version };
  if (profile.minAvailableVersion > version) {
    throw profileInvalid('version_unavailable', 'a version in use is no longer available', facts);
  }
  if (profile.minDecryptionVersion > version) {
    throw profileInvalid('version_cannot_decrypt', 'a version in use may no longer decrypt', facts);
  }
  const createdAtUnix = profile.versions.get(version);
  if (createdAtUnix === undefined) {
    throw profileInvalid('version_missing', 'a version in use is missing from the metadata', facts);
  }
  const recordedAtUnix = snapshot.transitVersionCreatedAtUnix;
  if (createdAtUnix !== recordedAtUnix) {
    const text = `version ${version} was created at ${createdAtUnix}, but was accepted as created at ${recordedAtUnix}`;
    throw profileInvalid('version_recreated', `${text}: this is another key`, {
      ...facts,
      createdAtUnix,
      recordedAtUnix,
    });
  }
}

export function profileInvalid(
  finding: ProfileFinding,
  text: string,
  facts: Record<string, number> = {},
): ProviderError {
  return new ProviderError('profile_invalid', `the Transit key is not acceptable: ${text}`, {
    facts: { finding, ...facts },
  });
}

/** Not faults, but worth a line in the log. */
export function profileWarnings(profile: KeyProfile): string[] {
  const rotates = profile.autoRotatePeriodSeconds > 0 ? ['auto_rotate_period'] : [];
  return profile.isImported ? [...rotates, 'imported_key'] : rotates;
}
