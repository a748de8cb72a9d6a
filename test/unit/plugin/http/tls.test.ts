// The trust for OpenBao: made of every certificate of a bundle or not at all, and what is wrong with a file that is none.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createTrust } from '../../../../plugin/http/tls.ts';
import { createAuthority, createLeaf } from '../../../support/pki.ts';
import { throwsClass } from '../../../support/throws.ts';

const trustOf = (ca: string | Buffer) => createTrust({ ca: Buffer.from(ca), tlsServerName: 'bao.example' });

test('a bundle is trusted until the first of its certificates ends, whatever stands between them', async () => {
  const authority = await createAuthority();
  const notAfter = new Date(Math.floor(Date.now() / 1_000) * 1_000 + 3_600_000);
  const { certificate } = await createLeaf(authority, { names: ['bao.example'], notAfter });
  for (const blocks of [
    [certificate, authority.pem],
    [authority.pem, certificate],
  ]) {
    const { endsAtUnixMs, tlsServerName } = trustOf(blocks.join('\na word\n'));
    assert.equal([endsAtUnixMs, tlsServerName], [notAfter.getTime(), 'bao.example']);
  }
});

test('one damaged certificate among good ones spoils the bundle', async () => {
  const { pem } = await createAuthority();
  const damaged = pem.replace(/\n[A-Za-z0-9+/]{20}/u, '\nAAAAAAAAAAAAAAAAAAAA');
  const { facts } = throwsClass(() => trustOf(`${pem}\n${damaged}`), 'ca_invalid');
  assert.is(facts['finding'], 'ca_damaged');
});

for (const [what, bytes, finding] of [
  ['nothing', Buffer.alloc(0), 'ca_empty'],
  ['white space', Buffer.from(' \n\t'), 'ca_empty'],
  ['DER', Buffer.from([0x30, 0x82, 1, 0]), 'ca_der'],
  ['a certificate that does not end', Buffer.from('-----BEGIN CERTIFICATE-----\nAAAA\n'), 'ca_damaged'],
  ['a key', Buffer.from('-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n'), 'ca_no_certificate'],
] as const) {
  test(`${what} is no trust: ${finding}`, () => {
    assert.is(throwsClass(() => trustOf(bytes), 'ca_invalid').facts['finding'], finding);
  });
}

test.run();
