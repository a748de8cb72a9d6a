// The one error that this program throws. A class says what kind it is and decides what follows (policy.ts); the message
// is one sentence of our own; facts are safe to log. No secret and no foreign text ever stands in message or facts.
// The cause stays attached for classification and is never printed.

/** Every kind of failure, grouped by who finds it. docs/errors.md lists them all and is tested against this list. */
export const errorClasses = [
  // configuration and gate (supervisor)
  'usage_invalid',
  'config_invalid',
  'file_unsafe',
  'file_changed',
  'file_too_large',
  'runtime_unsupported',
  'identity_unresolved',
  'wrong_user',
  'directory_unsafe',
  'locked',
  'socket_live',
  'socket_doubtful',
  'socket_target_invalid',
  'listener_unavailable',
  // registry state (both)
  'state_corrupt',
  'state_permission',
  'state_rollback',
  'state_binding',
  'state_save_failed',
  // operator commands (supervisor)
  'transition_refused',
  'task_failed',
  // channel (both)
  'frame_malformed',
  'message_invalid',
  'channel_violation',
  'confinement_failed',
  // KMS request (plugin)
  'canceled',
  'timeout',
  'plaintext_required',
  'ciphertext_required',
  'request_limit',
  'response_limit',
  'concurrency_limit',
  'status_unavailable',
  'status_unhealthy',
  'active_key_unavailable',
  'status_key_mismatch',
  'key_id_malformed',
  'key_id_unknown',
  'key_metadata_refresh_failed',
  'annotation_invalid',
  'aad_missing',
  'aad_mismatch',
  'transit_response_invalid',
  // OpenBao answers (plugin)
  'bao_unauthenticated',
  'bao_permission_denied',
  'bao_not_found',
  'bao_invalid_request',
  'bao_decrypt_failed',
  'bao_rate_limited',
  'bao_sealed',
  'bao_unavailable',
  'bao_tls_failed',
  'bao_dns_failed',
  'bao_connection_failed',
  'bao_protocol_error',
  'bao_unknown',
  // login (plugin)
  'jwt_unavailable',
  'jwt_malformed',
  'jwt_not_yet_valid',
  'jwt_issued_in_future',
  'jwt_issuer_mismatch',
  'jwt_audience_mismatch',
  'jwt_subject_mismatch',
  'jwt_expired',
  'jwt_near_expiry',
  'auth_rejected',
  'token_unavailable',
  'ca_invalid',
  // probes (plugin)
  'upsert_allowed',
  'profile_invalid',
  'version_rollback',
  'encryption_blocked',
  'state_unavailable',
  'deep_probe_invalid',
  // neither
  'internal',
] as const;

export type ErrorClass = (typeof errorClasses)[number];

/** Values that may be logged: sizes, counts, statuses, names of our own configuration fields. */
export type Facts = Readonly<Record<string, string | number | boolean>>;

export class ProviderError extends Error {
  override readonly name = 'ProviderError';
  readonly class: ErrorClass;
  readonly facts: Facts;

  constructor(errorClass: ErrorClass, message: string, options: { cause?: unknown; facts?: Facts } = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.class = errorClass;
    this.facts = options.facts ?? {};
  }
}

/** How many causes are followed; a longer or circular chain ends there. */
const maxCauses = 16;

/**
 * The ProviderErrors of a cause chain, outermost first. Wrapping in any other error changes nothing.
 *
 * @see spec/kms 2.1: classification works on the cause chain
 */
export function errorChain(thrown: unknown): ProviderError[] {
  const found: ProviderError[] = [];
  let current: unknown = thrown;
  for (let depth = 0; depth < maxCauses && current instanceof Error; depth += 1) {
    if (current instanceof ProviderError) found.push(current);
    current = current.cause;
  }
  return found;
}

/** The class of the outermost ProviderError in the chain; `internal` when there is none. */
export function errorClassOf(thrown: unknown): ErrorClass {
  return errorChain(thrown)[0]?.class ?? 'internal';
}
