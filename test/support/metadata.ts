// Key metadata as OpenBao answers it: an acceptable key with some versions, and whatever a test makes of it.

import { createdAtUnix, identity } from './vectors.ts';

export function metadata(latestVersion: number, change: Record<string, unknown> = {}): Record<string, unknown> {
  const versions = Array.from({ length: latestVersion }, (_, index) => [String(index + 1), createdAtUnix + index]);
  return {
    name: identity.transitKeyName,
    type: 'aes256-gcm96',
    latest_version: latestVersion,
    min_available_version: 0,
    min_decryption_version: 1,
    min_encryption_version: 0,
    derived: false,
    convergent_encryption: false,
    exportable: false,
    allow_plaintext_backup: false,
    deletion_allowed: false,
    imported_key: false,
    soft_deleted: false,
    supports_encryption: true,
    supports_decryption: true,
    supports_derivation: true,
    supports_signing: false,
    auto_rotate_period: 0,
    keys: Object.fromEntries(versions),
    ...change,
  };
}
