// T15 OpenBao impersonated, by name: a certificate of the right CA counts for the DNS names and addresses of its subject alternative
// name and for nothing else that it may say.

import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { connectTls, createTrust } from '../../../plugin/http/tls.ts';
import { createAuthority, createLeaf, type LeafOptions } from '../../support/pki.ts';

const authority = await createAuthority();

async function isAccepted(options: LeafOptions, tlsServerName: string): Promise<boolean> {
  const leaf = await createLeaf(authority, options);
  const server = createServer({ cert: leaf.certificate, key: leaf.key });
  server.on('tlsClientError', () => {});
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const trust = createTrust({ ca: Buffer.from(authority.pem), tlsServerName });
  const endpoint = { host: '127.0.0.1', port: (server.address() as AddressInfo).port };
  try {
    const socket = await connectTls(trust, endpoint, new AbortController().signal);
    socket.destroy();
    return true;
  } catch (error) {
    assert.is((error as { code?: string }).code, 'ERR_TLS_CERT_ALTNAME_INVALID');
    return false;
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

const none = { names: [], addresses: [] };
const refused: readonly (readonly [string, LeafOptions, string])[] = [
  ['the name as common name, no alternative name', { ...none, commonName: 'localhost' }, 'localhost'],
  ['the address as common name, no alternative name', { ...none, commonName: '127.0.0.1' }, '127.0.0.1'],
  [
    'the name as common name, a mail address beside it',
    { ...none, commonName: 'localhost', others: [{ type: 'email', value: 'root@localhost' }] },
    'localhost',
  ],
  [
    'the name as common name and in a URI',
    { ...none, commonName: 'localhost', others: [{ type: 'url', value: 'https://localhost' }] },
    'localhost',
  ],
  ['the name as common name, only an address beside it', { names: [], commonName: 'localhost' }, 'localhost'],
  ['the name as common name, another name beside it', { names: ['x.example'], commonName: 'localhost' }, 'localhost'],
  ['the address written as a DNS name', { names: ['127.0.0.1'], addresses: [] }, '127.0.0.1'],
  ['another address', { names: [], addresses: ['127.0.0.2'], commonName: '127.0.0.1' }, '127.0.0.1'],
];

for (const [what, options, name] of refused) {
  test(`${what}: refused`, async () => assert.not.ok(await isAccepted(options, name)));
}

test('a DNS name and an address as alternative names are accepted, whatever the common name is', async () => {
  assert.ok(await isAccepted({ commonName: 'x' }, 'localhost'));
  assert.ok(await isAccepted({ commonName: 'x' }, '127.0.0.1'));
});

test.run();
