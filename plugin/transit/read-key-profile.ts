// Metadata JSON → key profile. What the profile needs must be there in its type; the type of the key comes first, because
// other types answer with other members.

import { type KeyProfile, transitKeyType } from '../keys/profile.ts';
import { profileInvalid } from '../keys/profile-findings.ts';
import { operations } from '../openbao/operations.ts';
import { isObject, protocolError } from '../openbao/response.ts';

/**
 * @throws ProviderError `profile_invalid` for another key type or versions named wrongly, `bao_protocol_error` for members
 *   that are missing or of another type
 */
export function readKeyProfile(data: unknown): KeyProfile {
  if (!isObject(data)) throw protocolError(operations.metadataRead);
  const type = readText(data, 'type');
  if (type !== transitKeyType)
    throw profileInvalid('unsupported_type', 'type=other', `key type is not ${transitKeyType}`);
  return {
    name: readText(data, 'name'),
    type,
    latestVersion: readInteger(data, 'latest_version'),
    minAvailableVersion: readInteger(data, 'min_available_version'),
    minEncryptionVersion: readInteger(data, 'min_encryption_version'),
    minDecryptionVersion: readInteger(data, 'min_decryption_version'),
    versions: readVersions(data['keys']),
    isDerived: readFlag(data, 'derived'),
    isConvergent: readFlag(data, 'convergent_encryption', false),
    isExportable: readFlag(data, 'exportable'),
    isPlaintextBackupAllowed: readFlag(data, 'allow_plaintext_backup'),
    isDeletionAllowed: readFlag(data, 'deletion_allowed'),
    isSoftDeleted: readFlag(data, 'soft_deleted', false),
    isImported: readFlag(data, 'imported_key', false),
    supportsEncryption: readFlag(data, 'supports_encryption'),
    supportsDecryption: readFlag(data, 'supports_decryption'),
    autoRotatePeriodSeconds: data['auto_rotate_period'] === undefined ? 0 : readInteger(data, 'auto_rotate_period'),
  };
}

function readText(data: Record<string, unknown>, name: string): string {
  const value = data[name];
  if (typeof value !== 'string') throw protocolError(operations.metadataRead);
  return value;
}

function readInteger(data: Record<string, unknown>, name: string): number {
  const value = data[name];
  if (typeof value !== 'number' || !Number.isSafeInteger(value)) throw protocolError(operations.metadataRead);
  return value;
}

/** @param absent  what a member means that older servers leave out; without it the member is demanded */
function readFlag(data: Record<string, unknown>, name: string, absent?: boolean): boolean {
  const value = data[name] ?? absent;
  if (typeof value !== 'boolean') throw protocolError(operations.metadataRead);
  return value;
}

function readVersions(value: unknown): ReadonlyMap<number, number> {
  if (!isObject(value)) throw protocolError(operations.metadataRead);
  const versions = new Map<number, number>();
  for (const [name, created] of Object.entries(value)) {
    if (!/^[1-9][0-9]{0,9}$/u.test(name)) {
      throw profileInvalid('versions', 'keys=malformed', 'a version is no positive decimal integer');
    }
    if (typeof created !== 'number' || !Number.isFinite(created)) throw protocolError(operations.metadataRead);
    versions.set(Number(name), Math.trunc(created));
  }
  return versions;
}
