// What broke below HTTP, by the code that the runtime gives it, wherever in the chain of causes it stands.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { classifyTransportFailure } from '../../../../plugin/http/transport-failure.ts';
import { ProviderError } from '../../../../shared/errors/error.ts';

for (const [code, errorClass, detail] of [
  ['ENOTFOUND', 'bao_dns_failed', undefined],
  ['EAI_AGAIN', 'bao_dns_failed', undefined],
  ['ECONNREFUSED', 'bao_connection_failed', undefined],
  ['ECONNRESET', 'bao_connection_failed', undefined],
  ['UND_ERR_CONNECT_TIMEOUT', 'bao_connection_failed', undefined],
  ['ERR_TLS_CERT_ALTNAME_INVALID', 'bao_tls_failed', 'server_name'],
  ['CERT_HAS_EXPIRED', 'bao_tls_failed', 'certificate_expired'],
  ['CERT_NOT_YET_VALID', 'bao_tls_failed', 'certificate_expired'],
  ['SELF_SIGNED_CERT_IN_CHAIN', 'bao_tls_failed', 'untrusted_ca'],
  ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'bao_tls_failed', 'untrusted_ca'],
  ['ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION', 'bao_tls_failed', 'protocol_version'],
  ['EPROTO', 'bao_tls_failed', 'other'],
  ['XENOTFOUND', 'bao_unavailable', undefined],
  ['', 'bao_unavailable', undefined],
] as const) {
  test(`the code "${code}" is ${errorClass}${detail === undefined ? '' : ` (${detail})`}, bare or as a cause`, () => {
    const bare = Object.assign(new Error('canary'), { code });
    for (const error of [bare, new Error('x', { cause: new Error('y', { cause: bare }) })]) {
      const classified = classifyTransportFailure(error);
      assert.equal([classified.class, classified.facts['detail']], [errorClass, detail]);
      assert.not.match(classified.message, /canary/u);
    }
  });
}

test('an error of ours passes through; what is no error at all is an exchange that broke off', () => {
  const ours = new ProviderError('timeout', 'late');
  assert.is(classifyTransportFailure(ours), ours);
  for (const thrown of [undefined, null, 'text', {}, { code: 7 }]) {
    assert.is(classifyTransportFailure(thrown).class, 'bao_unavailable');
  }
});

test.run();
