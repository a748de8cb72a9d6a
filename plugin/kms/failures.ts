// Error class → gRPC status. Messages come from this table and from nowhere else: every API client that may read an object
// can see them. The order of rows decides which error of a cause chain counts (kms-v2 contract 7).

import { type ErrorClass, errorChain } from '../../shared/errors/error.ts';

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
export type KmsMethod = 'status' | 'encrypt' | 'decrypt';
export type KmsFailure = { readonly label: GrpcLabel; readonly message: string; readonly errorClass: KmsErrorClass };

type Row = readonly [GrpcLabel, string, KmsErrorClass];
const failed = 'kms request failed';
const auth = ['unauthenticated', 'transit authentication failed', 'auth_failed'] as const satisfies Row;
const byMethod = 'transit {method} failed';

/** First match in this order wins over the whole cause chain. Classes that no KMS call can meet end in the last row. */
const rows = {
  canceled: ['canceled', 'request canceled', 'canceled'],
  timeout: ['deadline_exceeded', 'request timed out', 'timeout'],
  key_metadata_refresh_failed: ['unavailable', 'key metadata refresh failed', 'key_metadata_refresh_failed'],
  plaintext_required: ['invalid_argument', 'plaintext is required', 'unknown'],
  ciphertext_required: ['invalid_argument', 'ciphertext is required', 'unknown'],
  request_limit: ['invalid_argument', 'kms request exceeds protocol limits', 'protocol_limit'],
  key_id_malformed: ['invalid_argument', 'key_id malformed', 'key_id_malformed'],
  annotation_invalid: ['invalid_argument', 'annotations invalid', 'annotation_invalid'],
  aad_mismatch: ['invalid_argument', 'annotations do not match key snapshot', 'aad_mismatch'],
  response_limit: ['internal', 'kms response exceeds protocol limits', 'protocol_limit'],
  concurrency_limit: ['resource_exhausted', 'kms request concurrency limit reached', 'concurrency_limit'],
  key_id_unknown: ['not_found', 'key_id unknown', 'key_id_unknown'],
  status_unavailable: ['failed_precondition', 'status unavailable', 'status_stale'],
  status_unhealthy: ['failed_precondition', 'status unhealthy', 'status_stale'],
  active_key_unavailable: ['failed_precondition', 'active key unavailable', 'status_stale'],
  status_key_mismatch: ['failed_precondition', 'status key_id mismatch', 'status_stale'],
  aad_missing: ['failed_precondition', 'AAD required', 'aad_missing'],
  transit_response_invalid: ['internal', failed, 'unknown'],
  bao_rate_limited: ['resource_exhausted', 'transit rate limited', 'openbao_rate_limited'],
  bao_sealed: ['unavailable', 'transit unavailable', 'openbao_sealed'],
  bao_unavailable: ['unavailable', 'transit unavailable', 'openbao_unavailable'],
  bao_tls_failed: ['unavailable', 'transit unavailable', 'openbao_tls_failed'],
  bao_dns_failed: ['unavailable', 'transit unavailable', 'openbao_dns_failed'],
  bao_connection_failed: ['unavailable', 'transit unavailable', 'openbao_connection_failed'],
  jwt_unavailable: auth,
  jwt_malformed: auth,
  jwt_not_yet_valid: auth,
  jwt_issued_in_future: auth,
  jwt_issuer_mismatch: auth,
  jwt_audience_mismatch: auth,
  jwt_subject_mismatch: auth,
  jwt_expired: auth,
  jwt_near_expiry: auth,
  auth_rejected: auth,
  token_unavailable: auth,
  bao_unauthenticated: auth,
  bao_permission_denied: ['permission_denied', 'transit permission denied', 'transit_policy_denied'],
  bao_not_found: ['not_found', 'transit key not found', 'transit_key_missing'],
  bao_invalid_request: ['invalid_argument', byMethod, 'unknown'],
  bao_decrypt_failed: ['invalid_argument', byMethod, 'aad_mismatch'],
  ca_invalid: ['unavailable', 'transit unavailable', 'openbao_tls_failed'],
  bao_protocol_error: ['unavailable', 'transit operation failed', 'openbao_unavailable'],
  bao_unknown: ['unavailable', 'transit unavailable', 'unknown'],
} as const satisfies Partial<Record<ErrorClass, Row>>;

const order = Object.keys(rows) as (keyof typeof rows)[];
const lastRow: Row = ['internal', failed, 'unknown'];

/** Table 7.3: a failure that carries only a gRPC code, as a wrapped client of another library would. */
const classByCode: Readonly<Record<number, KmsErrorClass>> = {
  1: 'canceled',
  4: 'timeout',
  5: 'transit_key_missing',
  7: 'transit_policy_denied',
  14: 'openbao_unavailable',
  16: 'auth_failed',
};

/** The answer to whatever was thrown; `undefined` class means our own bug and becomes `panic` or `unknown`. */
export function kmsFailureOf(thrown: unknown, method: KmsMethod): KmsFailure {
  const found = new Set<string>(errorChain(thrown).map((error) => error.class));
  const match = order.find((errorClass) => found.has(errorClass));
  const [label, message, errorClass] = match === undefined ? lastRow : rows[match];
  const text = message.replace('{method}', method);
  if (match !== undefined) return { label, message: text, errorClass };
  return { label, message: text, errorClass: found.size > 0 ? 'unknown' : unclassified(thrown) };
}

/** Nothing of ours in the chain: an exception, unless it carries a gRPC code (row 19). */
function unclassified(thrown: unknown): KmsErrorClass {
  let current: unknown = thrown;
  for (let depth = 0; depth < 16 && current instanceof Error; depth += 1) {
    if ('code' in current && typeof current.code === 'number') return classByCode[current.code] ?? 'unknown';
    current = current.cause;
  }
  return 'panic';
}
