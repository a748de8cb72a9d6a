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
  /** The one name outside this program: in the log, `/ready`, the status line, metrics and reports. */
  readonly probeClass: string;
};

/** The prefix marks answers of OpenBao inside this program and is not told: `bao_sealed` is `sealed` outside. */
function nameOf(errorClass: string): string {
  return errorClass.replace(/^bao_/u, '');
}

type Consequences = Omit<Policy, 'probeClass'>;
const wrong = (exitCode: Policy['exitCode'] = 5): Consequences => ({ exitCode, evidence: 'wrong_answer' });
const silent = (): Consequences => ({ exitCode: 5, evidence: 'no_answer' });

const consequences = {
  usage_invalid: wrong(2),
  config_invalid: wrong(3),
  file_unsafe: wrong(3),
  file_changed: wrong(3),
  file_too_large: wrong(3),
  wrong_user: wrong(),
  runtime_unsupported: wrong(),
  identity_unresolved: wrong(),
  directory_unsafe: wrong(),
  locked: wrong(),
  socket_live: wrong(),
  socket_doubtful: wrong(),
  socket_target_invalid: wrong(),
  listener_unavailable: wrong(),
  state_corrupt: wrong(),
  state_permission: wrong(),
  state_rollback: wrong(),
  state_binding: wrong(),
  state_save_failed: wrong(),
  transition_refused: wrong(4),
  task_failed: wrong(1),
  frame_malformed: wrong(),
  message_invalid: wrong(),
  channel_violation: wrong(),
  confinement_failed: wrong(),
  plugin_failed: wrong(),
  canceled: silent(),
  timeout: silent(),
  plaintext_required: wrong(),
  ciphertext_required: wrong(),
  request_limit: wrong(),
  response_limit: wrong(),
  concurrency_limit: silent(),
  status_unavailable: wrong(),
  status_unhealthy: wrong(),
  active_key_unavailable: wrong(),
  status_key_mismatch: wrong(),
  key_id_malformed: wrong(),
  key_id_unknown: wrong(),
  key_metadata_refresh_failed: silent(),
  annotation_invalid: wrong(),
  aad_missing: wrong(),
  aad_mismatch: wrong(),
  transit_response_invalid: wrong(),
  bao_unauthenticated: wrong(),
  bao_permission_denied: wrong(),
  bao_not_found: wrong(),
  bao_invalid_request: wrong(),
  bao_decrypt_failed: wrong(),
  bao_rate_limited: silent(),
  bao_sealed: silent(),
  bao_unavailable: silent(),
  bao_tls_failed: wrong(),
  bao_dns_failed: silent(),
  bao_connection_failed: silent(),
  bao_protocol_error: wrong(),
  bao_unknown: wrong(),
  jwt_unavailable: wrong(),
  jwt_malformed: wrong(),
  jwt_not_yet_valid: wrong(),
  jwt_issued_in_future: wrong(),
  jwt_issuer_mismatch: wrong(),
  jwt_audience_mismatch: wrong(),
  jwt_subject_mismatch: wrong(),
  jwt_expired: wrong(),
  jwt_near_expiry: wrong(),
  auth_rejected: wrong(),
  token_unavailable: wrong(),
  ca_invalid: wrong(),
  upsert_allowed: wrong(),
  profile_invalid: wrong(),
  version_rollback: wrong(),
  encryption_blocked: wrong(),
  state_unavailable: wrong(),
  deep_probe_invalid: wrong(),
  internal: wrong(1),
} as const satisfies Record<ErrorClass, Consequences>;

export const policies = Object.fromEntries(
  Object.entries(consequences).map(([name, row]) => [name, { ...row, probeClass: nameOf(name) }]),
) as Record<ErrorClass, Policy>;

/** The policy of whatever was thrown. */
export function policyOf(thrown: unknown): Policy {
  return policies[errorClassOf(thrown)];
}
