// What follows from each class of error, in one table that the compiler holds complete. docs/errors.md is tested against it.

import { type ErrorClass, errorClassOf } from './error.ts';

/**
 * `no_answer`: nothing was learned, evidence ages. `wrong_answer`: what was learned is bad, Status is unhealthy at once.
 *
 * @see architecture 13
 */
export type EvidenceKind = 'no_answer' | 'wrong_answer';

export type Policy = {
  /** Exit code when it ends a command (cli 1.2). */
  readonly exitCode: 1 | 2 | 3 | 4 | 5;
  readonly evidence: EvidenceKind;
  /** Name in `/ready` and in probe logs; a local failure uses its reason code there. */
  readonly probeClass: string;
};

const wrong = (probeClass: string, exitCode: Policy['exitCode'] = 5): Policy => ({
  exitCode,
  evidence: 'wrong_answer',
  probeClass,
});
const silent = (probeClass: string): Policy => ({ exitCode: 5, evidence: 'no_answer', probeClass });

export const policies = {
  usage_invalid: wrong('unknown', 2),
  config_invalid: wrong('unknown', 3),
  file_unsafe: wrong('unknown', 3),
  file_changed: wrong('unknown', 3),
  file_too_large: wrong('unknown', 3),
  runtime_unsupported: wrong('unknown'),
  identity_unresolved: wrong('unknown'),
  directory_unsafe: wrong('unknown'),
  locked: wrong('unknown'),
  socket_live: wrong('unknown'),
  socket_doubtful: wrong('unknown'),
  socket_target_invalid: wrong('unknown'),
  listener_unavailable: wrong('unknown'),
  state_corrupt: wrong('state_unavailable'),
  state_permission: wrong('state_unavailable'),
  state_rollback: wrong('version_rollback'),
  state_binding: wrong('profile_invalid'),
  state_save_failed: wrong('state_save_failed'),
  transition_refused: wrong('unknown', 4),
  task_failed: wrong('unknown', 1),
  frame_malformed: wrong('unknown'),
  message_invalid: wrong('unknown'),
  channel_violation: wrong('unknown'),
  confinement_failed: wrong('unknown'),
  plugin_failed: wrong('unknown'),
  canceled: silent('canceled'),
  timeout: silent('timeout'),
  plaintext_required: wrong('unknown'),
  ciphertext_required: wrong('unknown'),
  request_limit: wrong('unknown'),
  response_limit: wrong('deep_probe_invalid'),
  concurrency_limit: silent('unknown'),
  status_unavailable: wrong('unknown'),
  status_unhealthy: wrong('unknown'),
  active_key_unavailable: wrong('unknown'),
  status_key_mismatch: wrong('unknown'),
  key_id_malformed: wrong('unknown'),
  key_id_unknown: wrong('unknown'),
  key_metadata_refresh_failed: silent('unknown'),
  annotation_invalid: wrong('unknown'),
  aad_missing: wrong('unknown'),
  aad_mismatch: wrong('decrypt_failed'),
  transit_response_invalid: wrong('deep_probe_invalid'),
  bao_unauthenticated: wrong('unauthenticated'),
  bao_permission_denied: wrong('permission_denied'),
  bao_not_found: wrong('not_found'),
  bao_invalid_request: wrong('invalid_request'),
  bao_decrypt_failed: wrong('decrypt_failed'),
  bao_rate_limited: silent('rate_limited'),
  bao_sealed: silent('sealed'),
  bao_unavailable: silent('unavailable'),
  bao_tls_failed: wrong('tls_failed'),
  bao_dns_failed: silent('dns_failed'),
  bao_connection_failed: silent('connection_failed'),
  bao_protocol_error: wrong('unknown'),
  bao_unknown: wrong('unknown'),
  jwt_unavailable: wrong('auth_failed'),
  jwt_malformed: wrong('auth_failed'),
  jwt_not_yet_valid: wrong('auth_failed'),
  jwt_issued_in_future: wrong('auth_failed'),
  jwt_issuer_mismatch: wrong('auth_failed'),
  jwt_audience_mismatch: wrong('auth_failed'),
  jwt_subject_mismatch: wrong('auth_failed'),
  jwt_expired: wrong('auth_failed'),
  jwt_near_expiry: wrong('auth_failed'),
  auth_rejected: wrong('auth_failed'),
  token_unavailable: wrong('auth_failed'),
  ca_invalid: wrong('tls_failed'),
  upsert_allowed: wrong('upsert_allowed'),
  profile_invalid: wrong('profile_invalid'),
  version_rollback: wrong('version_rollback'),
  encryption_blocked: wrong('encryption_blocked'),
  state_unavailable: wrong('state_unavailable'),
  deep_probe_invalid: wrong('deep_probe_invalid'),
  internal: wrong('unknown', 1),
} as const satisfies Record<ErrorClass, Policy>;

/** The policy of whatever was thrown. */
export function policyOf(thrown: unknown): Policy {
  return policies[errorClassOf(thrown)];
}
