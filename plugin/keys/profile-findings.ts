// What can be wrong with the Transit key, by name, and the refusal that carries the name.

import { ProviderError } from '../../shared/errors/error.ts';

/** Every finding about the key, as it stands in log, `/ready`, status line, metrics and reports. */
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
  'version_before_active',
  'version_ahead_of_clock',
] as const;
export type ProfileFinding = (typeof profileFindings)[number];

/** @param field  the member of OpenBao's metadata and the class of its value, as in `exportable=true` */
export function profileInvalid(
  finding: ProfileFinding,
  field: string,
  text: string,
  facts: Record<string, number | string> = {},
): ProviderError {
  return new ProviderError('profile_invalid', `the Transit key is not acceptable: ${text}`, {
    facts: { finding, field, ...facts },
  });
}
