// What follows from each class of error, in one table that the compiler holds complete: whoever adds a class decides all of it here.
// docs/errors.md is tested against it.

import { type ErrorClass, errorClassOf } from './error.ts';
import { type ExitCode, exitCodes } from './exit-codes.ts';

/** `no_answer`: nothing was learned, evidence ages. `wrong_answer`: what was learned is bad, Status is unhealthy at once. */
export type EvidenceKind = 'no_answer' | 'wrong_answer';

/** gRPC codes by the labels of our observations. */
export const grpcCodes = {
  ok: 0,
  canceled: 1,
  unknown: 2,
  invalid_argument: 3,
  deadline_exceeded: 4,
  not_found: 5,
  already_exists: 6,
  permission_denied: 7,
  resource_exhausted: 8,
  failed_precondition: 9,
  aborted: 10,
  out_of_range: 11,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  data_loss: 15,
  unauthenticated: 16,
} as const;

export type GrpcLabel = keyof typeof grpcCodes;

export const kmsErrorClasses = [
  'openbao_unavailable',
  'openbao_tls_failed',
  'openbao_dns_failed',
  'openbao_connection_failed',
  'openbao_sealed',
  'openbao_rate_limited',
  'auth_failed',
  'transit_key_missing',
  'transit_policy_denied',
  'key_id_unknown',
  'key_id_malformed',
  'key_metadata_refresh_failed',
  'aad_missing',
  'aad_mismatch',
  'annotation_invalid',
  'status_stale',
  'protocol_limit',
  'concurrency_limit',
  'timeout',
  'canceled',
  'panic',
  'unknown',
] as const;

export type KmsErrorClass = (typeof kmsErrorClasses)[number];

/** The answer to a KMS call; `{method}` stands for `status`, `encrypt` or `decrypt`. Every API client that may read an object can see it. */
export type KmsAnswer = readonly [GrpcLabel, message: string, KmsErrorClass];

/** Values of the counters of logins and renewals: a promise to alert rules, coarser than the classes. */
export const tokenStatuses = [
  'ok',
  'jwt_expired',
  'jwt_near_expiry',
  'jwt_invalid',
  'no_usable_session',
  'auth_failed',
  'error',
] as const;
export type TokenStatus = (typeof tokenStatuses)[number];

type Consequences = {
  /** Exit code when it ends a command. */
  readonly exitCode: ExitCode;
  readonly evidence: EvidenceKind;
  /** `elsewhere`: no KMS call meets it. */
  readonly kms: KmsAnswer | 'elsewhere';
  readonly tokenStatus: TokenStatus;
  /** It speaks against the credential of a login: another one is needed, or a role that accepts this one. */
  readonly isCredentialRefused: boolean;
};

export type Policy = Consequences & {
  /** The one name outside this program: in the log, `/ready`, the status line, metrics and reports. */
  readonly probeClass: string;
};

/** The prefix marks answers of OpenBao inside this program and is not told: `bao_sealed` is `sealed` outside. */
function nameOf(errorClass: string): string {
  return errorClass.replace(/^bao_/u, '');
}

const failed = 'kms request failed';

/** No KMS call and no login meets it: it ends a command, a start, or a plugin. */
const elsewhere = (exitCode: ExitCode = exitCodes.runtime): Consequences => ({
  exitCode,
  evidence: 'wrong_answer',
  kms: 'elsewhere',
  tokenStatus: 'error',
  isCredentialRefused: false,
});
/** Nothing was learned from it. */
const silent = (...kms: KmsAnswer): Consequences => ({
  exitCode: exitCodes.runtime,
  evidence: 'no_answer',
  kms,
  tokenStatus: 'error',
  isCredentialRefused: false,
});
/** What was asked or answered is wrong. */
const wrong = (...kms: KmsAnswer): Consequences => ({
  exitCode: exitCodes.runtime,
  evidence: 'wrong_answer',
  kms,
  tokenStatus: 'error',
  isCredentialRefused: false,
});
/** There is no token. */
const loginFailed = (tokenStatus: TokenStatus): Consequences => ({
  exitCode: exitCodes.runtime,
  evidence: 'wrong_answer',
  kms: ['unauthenticated', 'transit authentication failed', 'auth_failed'],
  tokenStatus,
  isCredentialRefused: false,
});
/** There is no token, for a reason that lies in the credential. */
const credentialRefused = (tokenStatus: TokenStatus): Consequences => ({
  ...loginFailed(tokenStatus),
  isCredentialRefused: true,
});

/** Of several in a cause chain the first in this order decides what a KMS call is answered. */
const consequences = {
  canceled: silent('canceled', 'request canceled', 'canceled'),
  timeout: silent('deadline_exceeded', 'request timed out', 'timeout'),
  key_metadata_refresh_failed: silent('unavailable', 'key metadata refresh failed', 'key_metadata_refresh_failed'),
  plaintext_required: wrong('invalid_argument', 'plaintext is required', 'unknown'),
  ciphertext_required: wrong('invalid_argument', 'ciphertext is required', 'unknown'),
  request_limit: wrong('invalid_argument', 'kms request exceeds protocol limits', 'protocol_limit'),
  key_id_malformed: wrong('invalid_argument', 'key_id malformed', 'key_id_malformed'),
  annotation_invalid: wrong('invalid_argument', 'annotations invalid', 'annotation_invalid'),
  aad_mismatch: wrong('invalid_argument', 'annotations do not match key snapshot', 'aad_mismatch'),
  response_limit: wrong('internal', 'kms response exceeds protocol limits', 'protocol_limit'),
  concurrency_limit: silent('resource_exhausted', 'kms request concurrency limit reached', 'concurrency_limit'),
  key_id_unknown: wrong('not_found', 'key_id unknown', 'key_id_unknown'),
  status_unavailable: wrong('failed_precondition', 'status unavailable', 'status_stale'),
  status_unhealthy: wrong('failed_precondition', 'status unhealthy', 'status_stale'),
  active_key_unavailable: wrong('failed_precondition', 'active key unavailable', 'status_stale'),
  status_key_mismatch: wrong('failed_precondition', 'status key_id mismatch', 'status_stale'),
  aad_missing: wrong('failed_precondition', 'AAD required', 'aad_missing'),
  transit_response_invalid: wrong('internal', failed, 'unknown'),
  bao_rate_limited: silent('resource_exhausted', 'transit rate limited', 'openbao_rate_limited'),
  bao_sealed: silent('unavailable', 'transit unavailable', 'openbao_sealed'),
  bao_unavailable: silent('unavailable', 'transit unavailable', 'openbao_unavailable'),
  bao_tls_failed: wrong('unavailable', 'transit unavailable', 'openbao_tls_failed'),
  bao_dns_failed: silent('unavailable', 'transit unavailable', 'openbao_dns_failed'),
  bao_connection_failed: silent('unavailable', 'transit unavailable', 'openbao_connection_failed'),
  jwt_unavailable: credentialRefused('jwt_invalid'),
  jwt_malformed: credentialRefused('jwt_invalid'),
  jwt_not_yet_valid: credentialRefused('jwt_invalid'),
  jwt_issued_in_future: credentialRefused('jwt_invalid'),
  jwt_issuer_mismatch: credentialRefused('jwt_invalid'),
  jwt_audience_mismatch: credentialRefused('jwt_invalid'),
  jwt_subject_mismatch: credentialRefused('jwt_invalid'),
  jwt_expired: credentialRefused('jwt_expired'),
  jwt_near_expiry: credentialRefused('jwt_near_expiry'),
  auth_rejected: credentialRefused('auth_failed'),
  token_unavailable: loginFailed('no_usable_session'),
  bao_unauthenticated: loginFailed('error'),
  bao_permission_denied: wrong('permission_denied', 'transit permission denied', 'transit_policy_denied'),
  bao_not_found: wrong('not_found', 'transit key not found', 'transit_key_missing'),
  bao_invalid_request: wrong('invalid_argument', 'transit {method} failed', 'unknown'),
  bao_decrypt_failed: wrong('invalid_argument', 'transit {method} failed', 'aad_mismatch'),
  ca_invalid: wrong('unavailable', 'transit unavailable', 'openbao_tls_failed'),
  bao_protocol_error: wrong('unavailable', 'transit operation failed', 'openbao_unavailable'),
  bao_unknown: wrong('unavailable', 'transit unavailable', 'unknown'),
  usage_invalid: elsewhere(exitCodes.usage),
  config_invalid: elsewhere(exitCodes.configuration),
  file_unsafe: elsewhere(exitCodes.configuration),
  file_changed: elsewhere(exitCodes.configuration),
  file_too_large: elsewhere(exitCodes.configuration),
  wrong_user: elsewhere(),
  runtime_unsupported: elsewhere(),
  identity_unresolved: elsewhere(),
  directory_unsafe: elsewhere(),
  locked: elsewhere(),
  socket_live: elsewhere(),
  socket_doubtful: elsewhere(),
  socket_target_invalid: elsewhere(),
  listener_unavailable: elsewhere(),
  state_corrupt: elsewhere(),
  state_permission: elsewhere(),
  state_rollback: elsewhere(),
  state_binding: elsewhere(),
  state_save_failed: elsewhere(),
  transition_refused: elsewhere(exitCodes.checkFailed),
  task_failed: elsewhere(exitCodes.unexpected),
  frame_malformed: elsewhere(),
  message_invalid: elsewhere(),
  channel_violation: elsewhere(),
  confinement_failed: elsewhere(),
  upsert_allowed: elsewhere(),
  profile_invalid: elsewhere(),
  version_rollback: elsewhere(),
  encryption_blocked: elsewhere(),
  state_unavailable: elsewhere(),
  deep_probe_invalid: elsewhere(),
  internal: elsewhere(exitCodes.unexpected),
} as const satisfies Record<ErrorClass, Consequences>;

export const policies = Object.fromEntries(
  Object.entries(consequences).map(([name, row]) => [name, { ...row, probeClass: nameOf(name) }]),
) as Record<ErrorClass, Policy>;

/** In the order of precedence. */
export const kmsPrecedence = (Object.keys(consequences) as ErrorClass[]).filter(
  (name) => policies[name].kms !== 'elsewhere',
);

/** The policy of whatever was thrown. */
export function policyOf(thrown: unknown): Policy {
  return policies[errorClassOf(thrown)];
}

const credentialRefusals: ReadonlySet<string> = new Set(
  Object.values(policies).flatMap((policy) => (policy.isCredentialRefused ? [policy.probeClass] : [])),
);

/** Whether a cause speaks against the credential of a login. @param probeClass  the class as it is named outside of the plugin */
export function isCredentialRefusal(probeClass: string): boolean {
  return credentialRefusals.has(probeClass);
}
