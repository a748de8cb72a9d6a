// The closed lists of words that say what is wrong: in log, `/ready`, status line, metrics and reports. What a plugin says to the
// supervisor is made of nothing else, so that it invents no name.

import { caFindings, loginDetails, tlsDetails } from './cause.ts';
import { policies } from './policy.ts';

/** Why Status is not healthy, or will not be. */
export const reasons = [
  'state_unavailable',
  'status_stale',
  'metadata_unverified',
  'login_failed',
  'upsert_check_failed',
  'upsert_allowed',
  'metadata_read_failed',
  'profile_invalid',
  'version_rollback',
  'state_save_failed',
  'encryption_blocked',
  'deep_probe_pending',
  'deep_probe_failed',
  'deep_probe_invalid',
  'rights_missing',
  'probe_failed',
  'socket_lost',
  'runtime_directory_gone',
  'shutting_down',
  'diagnostics_unavailable',
] as const;
export type Reason = (typeof reasons)[number];

/** Every finding, as it stands in log, `/ready`, status line, metrics and reports. */
export const rightFindings = [
  'missing_encrypt',
  'missing_decrypt',
  'missing_metadata_read',
  'missing_upsert_read',
  'missing_renew',
  'missing_capabilities',
  'extra_root',
  'extra_on_key',
  'extra_on_encrypt',
  'extra_on_decrypt',
  'extra_on_mount_config',
  'extra_key_config',
  'extra_trim',
  'extra_rotate',
  'extra_soft_delete',
  'extra_import',
  'extra_restore',
  'extra_rewrap',
  'extra_export',
  'extra_backup',
] as const;
export type RightFinding = (typeof rightFindings)[number];

/** Without this right there is no service. */
export function isFatal(finding: RightFinding): boolean {
  return finding === 'missing_encrypt' || finding === 'missing_decrypt';
}

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

/** What is no fault of the key and worth knowing. */
export const profileWarningCodes = ['auto_rotate_period', 'imported_key'] as const;
export type ProfileWarning = (typeof profileWarningCodes)[number];

/** Why a file is not read. */
export const fileReasons = [
  'absolute_path_required',
  'file_missing',
  'file_unreadable',
  'symlink_unsupported',
  'regular_file_required',
  'unsafe_permissions',
  'foreign_owner',
  'foreign_group',
  'unsafe_ancestor',
  'foreign_ancestor',
  'file_changed',
  'file_too_large',
] as const;
export type FileReason = (typeof fileReasons)[number];

/** Every warning; a finding about our rights is one under its own name. */
export const warningCodes = [
  'credential_refused',
  'credential_waiting',
  'no_status_calls',
  'decrypt_failing',
  'credentials_directory_gone',
  'state_directory_gone',
  'metrics_port_taken',
  'health_port_taken',
  'registry_large',
  ...rightFindings.filter((finding) => !isFatal(finding)),
] as const;
export type WarningCode =
  | 'credential_refused'
  | 'credential_waiting'
  | 'no_status_calls'
  | 'decrypt_failing'
  | 'credentials_directory_gone'
  | 'state_directory_gone'
  | 'metrics_port_taken'
  | 'health_port_taken'
  | 'registry_large'
  | RightFinding;

/** What is wrong with key, rights, CA or directory. */
export const findings = [...new Set([...profileFindings, ...rightFindings, ...caFindings, 'state_directory_gone'])];

/** What is known of a refused login, or of TLS. */
export const details = [...new Set([...loginDetails, ...tlsDetails])];

/** The one name of each class of error outside this program, and the reasons of a refused file. */
export const classNames = [
  ...new Set([...Object.values(policies).map(({ probeClass }) => probeClass), ...fileReasons]),
];
