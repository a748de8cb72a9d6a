// The key profile: what OpenBao says about the Transit key, and whether that is acceptable. One finding is enough to be
// unhealthy and to refuse Encrypt (spec/rotation 1.1).

import { ProviderError } from '../../shared/errors/error.ts';
import { type ProfileWarning, profileWarningCodes } from '../../shared/errors/words.ts';
import { maxTransitVersion } from '../../shared/registry/key-id.ts';
import type { Snapshot } from '../../shared/registry/state.ts';
import { type ProfileFinding, profileInvalid } from './profile-findings.ts';

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

type Finding = {
  readonly code: ProfileFinding;
  /** The member of OpenBao's metadata, and the class of its value that is wrong: `exportable=true`. */
  readonly field: string;
  readonly text: string;
  readonly isPresent: (profile: KeyProfile) => boolean;
};

const findings: readonly Finding[] = [
  {
    code: 'latest_version',
    field: 'latest_version=below_1',
    text: 'latest version is not positive',
    isPresent: (p) => p.latestVersion < 1,
  },
  {
    code: 'min_available_version',
    field: 'min_available_version=negative',
    text: 'minimum available version is negative',
    isPresent: (p) => p.minAvailableVersion < 0,
  },
  {
    code: 'soft_deleted',
    field: 'soft_deleted=true',
    text: 'key is soft-deleted',
    isPresent: (p) => p.isSoftDeleted,
  },
  {
    code: 'min_available_version',
    field: 'min_available_version=above_latest',
    text: 'minimum available version is above the latest version',
    isPresent: (p) => p.minAvailableVersion > p.latestVersion,
  },
  {
    code: 'exportable',
    field: 'exportable=true',
    text: 'key material export is enabled',
    isPresent: (p) => p.isExportable,
  },
  {
    code: 'plaintext_backup',
    field: 'allow_plaintext_backup=true',
    text: 'plaintext backup is enabled',
    isPresent: (p) => p.isPlaintextBackupAllowed,
  },
  {
    code: 'deletion_allowed',
    field: 'deletion_allowed=true',
    text: 'key deletion is allowed',
    isPresent: (p) => p.isDeletionAllowed, // control: profile.deletion
  },
  {
    code: 'derived',
    field: 'derived=true',
    text: 'derived key mode is enabled',
    isPresent: (p) => p.isDerived,
  },
  {
    code: 'convergent',
    field: 'convergent_encryption=true',
    text: 'convergent encryption is enabled',
    isPresent: (p) => p.isConvergent,
  },
  {
    code: 'min_encryption_version',
    field: 'min_encryption_version=above_latest',
    text: 'minimum encryption version is above the latest version',
    isPresent: (p) => p.minEncryptionVersion > p.latestVersion,
  },
  {
    code: 'min_decryption_version',
    field: 'min_decryption_version=above_latest',
    text: 'minimum decryption version is above the latest version',
    isPresent: (p) => p.minDecryptionVersion > p.latestVersion,
  },
  {
    code: 'encryption_unsupported',
    field: 'supports_encryption=false',
    text: 'key cannot encrypt',
    isPresent: (p) => !p.supportsEncryption,
  },
  {
    code: 'decryption_unsupported',
    field: 'supports_decryption=false',
    text: 'key cannot decrypt',
    isPresent: (p) => !p.supportsDecryption,
  },
];

/**
 * Refuses an unacceptable profile, first finding first.
 *
 * @param keyName  the configured name; a profile of another key is refused
 * @throws ProviderError `profile_invalid`; facts: finding, field
 */
export function checkProfile(profile: KeyProfile, keyName: string): void {
  if (profile.type !== transitKeyType)
    throw profileInvalid('unsupported_type', 'type=other', `key type is not ${transitKeyType}`);
  if (profile.name !== keyName) throw profileInvalid('name', 'name=other', 'the metadata is of another key');
  for (const { code, field, text, isPresent } of findings) {
    if (isPresent(profile)) throw profileInvalid(code, field, text);
  }
  for (const [version, createdAtUnix] of profile.versions) checkVersion(version, createdAtUnix, profile);
  if (!profile.versions.has(profile.latestVersion)) {
    throw profileInvalid(
      'latest_created_at',
      'keys=latest_missing',
      'the creation time of the latest version is missing',
    );
  }
}

function checkVersion(version: number, createdAtUnix: number, profile: KeyProfile): void {
  const isPlausible = version >= 1 && version <= profile.latestVersion && createdAtUnix >= 1;
  if (!isPlausible || version > maxTransitVersion) {
    throw profileInvalid('versions', 'keys=out_of_range', 'a version or its creation time is out of range');
  }
}

/**
 * Checks that every usable record is still served by OpenBao under the identity it was accepted with (spec/rotation 1.2).
 *
 * @throws ProviderError `profile_invalid`; facts: finding, transitKeyVersion, and both seconds when a time moved
 */
export function checkRegistry(snapshots: readonly Snapshot[], profile: KeyProfile): void {
  for (const snapshot of snapshots) {
    if (snapshot.state === 'removed' || snapshot.state === 'rejected') continue;
    checkSnapshotServed(snapshot, profile, () => repairOf(snapshots, profile));
  }
}

/**
 * Versions that were recorded and never active, and that OpenBao does not list, or lists with another creation time: nothing was
 * ever encrypted with them here. What the minimums of the key hide from the list says nothing. Ascending.
 */
export function contradictedVersions(snapshots: readonly Snapshot[], profile: KeyProfile): readonly number[] {
  const minListed = Math.max(profile.minAvailableVersion, profile.minDecryptionVersion);
  return snapshots
    .filter(({ state, promotedAtUnix }) => (state === 'pending' || state === 'retired') && promotedAtUnix === 0)
    .filter(({ transitVersion: version, transitVersionCreatedAtUnix: recordedAtUnix }) => {
      const createdAtUnix = profile.versions.get(version);
      return createdAtUnix === undefined ? version >= minListed : createdAtUnix !== recordedAtUnix;
    })
    .map(({ transitVersion }) => transitVersion)
    .sort((one, other) => one - other);
}

/** The clocks of OpenBao and of this node differ, and a plugin may have noted its first look a few minutes late. */
const firstSlackSeconds = 600;

/**
 * When OpenBao made version 1, if the record of it was wrong from the start: no other version was ever active here, and OpenBao made
 * it at another second, but not after it was recorded. A key that was made anew since then is another key, and not meant.
 *
 * @returns Unix seconds; undefined: the record is right, or nothing tells that it was wrong from the start
 */
export function correctedFirst(snapshots: readonly Snapshot[], profile: KeyProfile): number | undefined {
  const [first, ...others] = snapshots.filter(
    ({ state, promotedAtUnix }) => state === 'active' || promotedAtUnix !== 0,
  );
  if (first === undefined || others.length > 0 || first.transitVersion !== 1) return undefined;
  const createdAtUnix = profile.versions.get(1);
  if (createdAtUnix === undefined || createdAtUnix === first.transitVersionCreatedAtUnix) return undefined;
  // control: profile.corrected-first
  return createdAtUnix <= first.observedAtUnix + firstSlackSeconds ? createdAtUnix : undefined;
}

/** The command line that drops or corrects the records, as `/ready` shows it. */
function repairOf(
  snapshots: readonly Snapshot[],
  profile: KeyProfile,
): { readonly repair?: string; readonly advice: string } {
  const contradicted = contradictedVersions(snapshots, profile);
  const isFirstWrong = correctedFirst(snapshots, profile) !== undefined;
  const versions = isFirstWrong ? [1, ...contradicted] : contradicted;
  if (versions.length === 0) return { advice: '' };
  const repair = `bao-kms-provider forget-versions --versions ${versions.join(',')}`;
  const condition = isFirstWrong ? 'if this key was never deleted and created again, ' : '';
  return { repair, advice: `; ${condition}${repair} plans the way back` };
}

/**
 * Whether a key serves a whole state: acceptable, not gone back, and every usable record still there (spec/rotation 1.3).
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

function checkSnapshotServed(
  snapshot: Snapshot,
  profile: KeyProfile,
  repairOfAll: () => ReturnType<typeof repairOf>,
): void {
  const version = snapshot.transitVersion;
  const facts = { transitKeyVersion: version };
  if (profile.minAvailableVersion > version) {
    throw profileInvalid(
      'version_unavailable',
      'min_available_version=above_version_in_use',
      'a version in use is no longer available',
      facts,
    );
  }
  if (profile.minDecryptionVersion > version) {
    throw profileInvalid(
      'version_cannot_decrypt',
      'min_decryption_version=above_version_in_use',
      'a version in use may no longer decrypt',
      facts,
    );
  }
  const createdAtUnix = profile.versions.get(version);
  if (createdAtUnix === undefined) {
    const { advice, ...repair } = repairOfAll();
    const text = `version ${version}, which is in use here, is missing from the metadata${advice}`;
    throw profileInvalid('version_missing', 'keys=version_missing', text, { ...facts, ...repair });
  }
  const recordedAtUnix = snapshot.transitVersionCreatedAtUnix;
  // control: profile.created-at
  if (createdAtUnix !== recordedAtUnix) {
    const text = `version ${version} was created at ${createdAtUnix}, but was accepted as created at ${recordedAtUnix}`;
    const { advice, ...repair } = repairOfAll();
    throw profileInvalid('version_recreated', 'keys=other_creation_time', `${text}: this is another key${advice}`, {
      ...facts,
      ...repair,
      createdAtUnix,
      recordedAtUnix,
    });
  }
}

export { type ProfileWarning, profileWarningCodes };

/** Not faults, but worth a line in the log. */
export function profileWarnings(profile: KeyProfile): ProfileWarning[] {
  const rotates: ProfileWarning[] = profile.autoRotatePeriodSeconds > 0 ? ['auto_rotate_period'] : [];
  return profile.isImported ? [...rotates, 'imported_key'] : rotates;
}
