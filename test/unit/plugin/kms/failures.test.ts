// The error policy: every row of the contract's tables, also wrapped in other errors; and that no cause text leaks.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { kmsFailureOf } from '../../../../plugin/kms/failures.ts';
import { type ErrorClass, ProviderError } from '../../../../shared/errors/error.ts';
import type { KmsErrorClass } from '../../../../shared/errors/policy.ts';

const rows: readonly (readonly [ErrorClass, string, string, KmsErrorClass])[] = [
  ['canceled', 'canceled', 'request canceled', 'canceled'],
  ['timeout', 'deadline_exceeded', 'request timed out', 'timeout'],
  ['key_metadata_refresh_failed', 'unavailable', 'key metadata refresh failed', 'key_metadata_refresh_failed'],
  ['plaintext_required', 'invalid_argument', 'plaintext is required', 'unknown'],
  ['ciphertext_required', 'invalid_argument', 'ciphertext is required', 'unknown'],
  ['request_limit', 'invalid_argument', 'kms request exceeds protocol limits', 'protocol_limit'],
  ['key_id_malformed', 'invalid_argument', 'key_id malformed', 'key_id_malformed'],
  ['annotation_invalid', 'invalid_argument', 'annotations invalid', 'annotation_invalid'],
  ['aad_mismatch', 'invalid_argument', 'annotations do not match key snapshot', 'aad_mismatch'],
  ['response_limit', 'internal', 'kms response exceeds protocol limits', 'protocol_limit'],
  ['concurrency_limit', 'resource_exhausted', 'kms request concurrency limit reached', 'concurrency_limit'],
  ['key_id_unknown', 'not_found', 'key_id unknown', 'key_id_unknown'],
  ['status_unavailable', 'failed_precondition', 'status unavailable', 'status_stale'],
  ['status_unhealthy', 'failed_precondition', 'status unhealthy', 'status_stale'],
  ['active_key_unavailable', 'failed_precondition', 'active key unavailable', 'status_stale'],
  ['status_key_mismatch', 'failed_precondition', 'status key_id mismatch', 'status_stale'],
  ['aad_missing', 'failed_precondition', 'AAD required', 'aad_missing'],
  ['transit_response_invalid', 'internal', 'kms request failed', 'unknown'],
  ['auth_rejected', 'unauthenticated', 'transit authentication failed', 'auth_failed'],
  ['token_unavailable', 'unauthenticated', 'transit authentication failed', 'auth_failed'],
  ['jwt_expired', 'unauthenticated', 'transit authentication failed', 'auth_failed'],
  ['bao_unauthenticated', 'unauthenticated', 'transit authentication failed', 'auth_failed'],
  ['bao_permission_denied', 'permission_denied', 'transit permission denied', 'transit_policy_denied'],
  ['bao_not_found', 'not_found', 'transit key not found', 'transit_key_missing'],
  ['bao_invalid_request', 'invalid_argument', 'transit decrypt failed', 'unknown'],
  ['bao_decrypt_failed', 'invalid_argument', 'transit decrypt failed', 'aad_mismatch'],
  ['bao_rate_limited', 'resource_exhausted', 'transit rate limited', 'openbao_rate_limited'],
  ['bao_sealed', 'unavailable', 'transit unavailable', 'openbao_sealed'],
  ['bao_unavailable', 'unavailable', 'transit unavailable', 'openbao_unavailable'],
  ['bao_tls_failed', 'unavailable', 'transit unavailable', 'openbao_tls_failed'],
  ['bao_dns_failed', 'unavailable', 'transit unavailable', 'openbao_dns_failed'],
  ['bao_connection_failed', 'unavailable', 'transit unavailable', 'openbao_connection_failed'],
  ['bao_unknown', 'unavailable', 'transit unavailable', 'unknown'],
  ['bao_protocol_error', 'unavailable', 'transit operation failed', 'openbao_unavailable'],
];

const canary = 'canary-7f3a-secret-path';

for (const [errorClass, label, message, kmsClass] of rows) {
  const error = new ProviderError(errorClass, canary, { cause: new Error(canary) });
  const wrappings: readonly (readonly [string, unknown])[] = [
    ['bare', error],
    ['wrapped', new Error(canary, { cause: error })],
    ['wrapped twice', new TypeError('x', { cause: new Error(canary, { cause: error }) })],
    ['wrapped in a class of ours without a row', new ProviderError('internal', canary, { cause: error })],
  ];
  for (const [how, thrown] of wrappings) {
    test(`${errorClass} ${how} is ${label}, "${message}", ${kmsClass}`, () => {
      assert.equal(kmsFailureOf(thrown, 'decrypt'), { label, message, errorClass: kmsClass });
    });
  }
}

test('the method stands in the message of a Transit refusal', () => {
  assert.is(kmsFailureOf(new ProviderError('bao_invalid_request', ''), 'encrypt').message, 'transit encrypt failed');
});

for (const above of ['key_metadata_refresh_failed', 'auth_rejected', 'bao_unavailable'] as const) {
  test(`a cancellation or a deadline below ${above} wins over it`, () => {
    for (const [below, label] of [
      ['canceled', 'canceled'],
      ['timeout', 'deadline_exceeded'],
    ] as const) {
      const thrown = new ProviderError(above, '', { cause: new ProviderError(below, '') });
      assert.is(kmsFailureOf(thrown, 'decrypt').label, label);
    }
  });
}

test('a login that failed because OpenBao is away has the class of the outage', () => {
  const thrown = new ProviderError('auth_rejected', '', { cause: new ProviderError('bao_sealed', '') });

  assert.is(kmsFailureOf(thrown, 'decrypt').errorClass, 'openbao_sealed');
});

for (const [code, errorClass] of [
  [1, 'canceled'],
  [4, 'timeout'],
  [5, 'transit_key_missing'],
  [7, 'transit_policy_denied'],
  [14, 'openbao_unavailable'],
  [16, 'auth_failed'],
  [3, 'unknown'],
  [8, 'unknown'],
] as const) {
  test(`a cause that carries only gRPC code ${code} keeps code and message of our own, with class ${errorClass}`, () => {
    const thrown = new Error(canary, { cause: Object.assign(new Error(canary), { code }) });

    assert.equal(kmsFailureOf(thrown, 'decrypt'), { label: 'internal', message: 'kms request failed', errorClass });
  });
}

for (const thrown of [new TypeError(canary), canary, undefined, null, 42]) {
  test(`${typeof thrown} thrown by a handler is a panic without its text`, () => {
    assert.equal(kmsFailureOf(thrown, 'encrypt'), {
      label: 'internal',
      message: 'kms request failed',
      errorClass: 'panic',
    });
  });
}

test('a circular cause chain ends', () => {
  const one = new Error('one');
  one.cause = new Error('two', { cause: one });

  assert.is(kmsFailureOf(one, 'status').label, 'internal');
});

test.run();
