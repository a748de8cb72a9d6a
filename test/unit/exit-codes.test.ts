// The exit code of every error class, wherever it ends the program: the public list that a change of the sources must keep.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type ErrorClass, errorClasses, ProviderError } from '../../shared/errors/error.ts';
import { exitCodeOf } from '../../supervisor/exit-code.ts';
import { GateRefusal } from '../../supervisor/refusal.ts';

/**
 * One digit each: thrown outside of the gate; refused by the check of the configuration; refused by the check of the socket;
 * then the same three in a command about versions.
 */
const expected = {
  usage_invalid: '235234',
  config_invalid: '335434',
  file_unsafe: '335434',
  file_changed: '335434',
  file_too_large: '335434',
  runtime_unsupported: '535434',
  identity_unresolved: '535434',
  wrong_user: '535434',
  directory_unsafe: '535434',
  locked: '535434',
  socket_live: '535434',
  socket_doubtful: '535434',
  socket_target_invalid: '535434',
  listener_unavailable: '535434',
  state_corrupt: '535434',
  state_permission: '535434',
  state_rollback: '535434',
  state_binding: '535434',
  state_save_failed: '535434',
  transition_refused: '435434',
  task_failed: '135134',
  frame_malformed: '535434',
  message_invalid: '535434',
  channel_violation: '535434',
  confinement_failed: '535434',
  canceled: '535434',
  timeout: '535434',
  plaintext_required: '535434',
  ciphertext_required: '535434',
  request_limit: '535434',
  response_limit: '535434',
  concurrency_limit: '535434',
  status_unavailable: '535434',
  status_unhealthy: '535434',
  active_key_unavailable: '535434',
  status_key_mismatch: '535434',
  key_id_malformed: '535434',
  key_id_unknown: '535434',
  key_metadata_refresh_failed: '535434',
  annotation_invalid: '535434',
  aad_missing: '535434',
  aad_mismatch: '535434',
  transit_response_invalid: '535434',
  bao_unauthenticated: '535434',
  bao_permission_denied: '535434',
  bao_not_found: '535434',
  bao_invalid_request: '535434',
  bao_decrypt_failed: '535434',
  bao_rate_limited: '535434',
  bao_sealed: '535434',
  bao_unavailable: '535434',
  bao_tls_failed: '535434',
  bao_dns_failed: '535434',
  bao_connection_failed: '535434',
  bao_protocol_error: '535434',
  bao_unknown: '535434',
  jwt_unavailable: '535434',
  jwt_malformed: '535434',
  jwt_not_yet_valid: '535434',
  jwt_issued_in_future: '535434',
  jwt_issuer_mismatch: '535434',
  jwt_audience_mismatch: '535434',
  jwt_subject_mismatch: '535434',
  jwt_expired: '535434',
  jwt_near_expiry: '535434',
  auth_rejected: '535434',
  token_unavailable: '535434',
  ca_invalid: '535434',
  upsert_allowed: '535434',
  profile_invalid: '535434',
  version_rollback: '535434',
  encryption_blocked: '535434',
  state_unavailable: '535434',
  deep_probe_invalid: '535434',
  internal: '135134',
} satisfies Record<ErrorClass, string>;

test('every error class ends the program with the exit code of the list', () => {
  const found = errorClasses.map((errorClass) => {
    const error = new ProviderError(errorClass, 'a refusal');
    const ofConfig = new GateRefusal('gate.config', error);
    const ofSocket = new GateRefusal('gate.socket', error);
    const codes = [exitCodeOf(error, 'none'), ofConfig.exitCode, ofSocket.exitCode];
    return [errorClass, [...codes, ...[error, ofConfig, ofSocket].map((one) => exitCodeOf(one, 'task'))].join('')];
  });
  assert.equal(Object.fromEntries(found), expected);
});

test.run();
