// T15 OpenBao impersonated: no connection that is not the configured server's ever carries a token.

import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { setDefaultCACertificates } from 'node:tls';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createTrust } from '../../../plugin/http/tls.ts';
import { createHttp } from '../../../plugin/openbao/client.ts';
import { operations } from '../../../plugin/openbao/operations.ts';
import { readReply } from '../../../plugin/openbao/response.ts';
import { clock, random } from '../../../plugin/system.ts';
import { createAuthority, createLeaf, type Leaf } from '../../support/pki.ts';
import { rejectsClass, throwsClass } from '../../support/throws.ts';

const authority = await createAuthority();
const stranger = await createAuthority('somebody else');
const token = 's.canary-token-of-the-plugin';

type Impostor = {
  readonly server: Server;
  readonly port: number;
  readonly tokens: (string | undefined)[];
  answer: (path: string) => { status: number; location?: string };
};

async function startImpostor(leaf: Leaf, options: object = {}): Promise<Impostor> {
  const tokens: (string | undefined)[] = [];
  const impostor = { tokens, answer: (_path: string): { status: number; location?: string } => ({ status: 200 }) };
  const server = createServer({ cert: leaf.certificate, key: leaf.key, ...options }, (request, response) => {
    tokens.push(request.headers['x-vault-token'] as string | undefined);
    const { status, location } = impostor.answer(request.url ?? '');
    response.writeHead(status, { 'content-type': 'application/json', ...(location === undefined ? {} : { location }) });
    response.end('{"data":{"disable_upsert":true}}');
  });
  server.on('tlsClientError', () => {});
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return Object.assign(impostor, { server, port: (server.address() as AddressInfo).port });
}

async function ask(port: number, ca = authority.pem, tlsServerName = 'localhost') {
  const trust = createTrust({ ca: Buffer.from(ca), tlsServerName });
  const http = createHttp({
    address: `https://127.0.0.1:${port}`,
    namespace: '',
    userAgent: 't',
    trust,
    clock,
    random,
    connections: 1,
  });
  try {
    const reply = await http.send({
      operation: operations.upsertRead,
      path: 'transit/config/keys',
      token,
      timeoutMs: 3_000,
    });
    return readReply(operations.upsertRead, reply);
  } finally {
    await http.close();
  }
}

async function withImpostor(
  leaf: Leaf,
  run: (impostor: Impostor) => Promise<void>,
  options: object = {},
): Promise<void> {
  const impostor = await startImpostor(leaf, options);
  try {
    await run(impostor);
  } finally {
    impostor.server.closeAllConnections();
    await new Promise((resolve) => impostor.server.close(resolve));
  }
}

test('the configured server is asked', async () =>
  withImpostor(await createLeaf(authority), async ({ port, tokens }) => {
    await ask(port);
    assert.equal(tokens, [token]);
  }));

const day = 86_400_000;
const impostors: readonly (readonly [string, () => Promise<Leaf>, object?])[] = [
  ['signed by another CA', () => createLeaf(stranger)],
  [
    'whose common name alone is the configured name',
    () => createLeaf(authority, { commonName: 'localhost', names: [], addresses: [] }),
  ],
  ['with another name', () => createLeaf(authority, { names: ['bao.example'], addresses: [] })],
  [
    'with the address of the URL but not the configured name',
    () => createLeaf(authority, { names: ['bao.example'], addresses: ['127.0.0.1'] }),
  ],
  [
    'expired',
    () =>
      createLeaf(authority, { notBefore: new Date(Date.now() - 3 * day), notAfter: new Date(Date.now() - day / 2) }),
  ],
  ['not yet valid', () => createLeaf(authority, { notBefore: new Date(Date.now() + day / 2) })],
  [
    'that speaks TLS 1.1 only',
    () => createLeaf(authority),
    { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' },
  ],
];

for (const [what, leaf, options] of impostors) {
  test(`a server ${what} is refused and never sees the token`, async () =>
    withImpostor(
      await leaf(),
      async ({ port, tokens }) => {
        await rejectsClass(ask(port), 'bao_tls_failed');
        assert.equal(tokens, []);
      },
      options,
    ));
}

test('a self-signed server is refused and never sees the token', async () => {
  const lone = await createAuthority('localhost');
  const leaf = await createLeaf(lone, {});
  await withImpostor(leaf, async ({ port, tokens }) => {
    await rejectsClass(ask(port), 'bao_tls_failed');
    assert.equal(tokens, []);
  });
});

test('a server that the system trusts, but the configuration does not, is refused', async () => {
  setDefaultCACertificates([stranger.pem]);
  await withImpostor(await createLeaf(stranger), async ({ port, tokens }) => {
    await rejectsClass(ask(port), 'bao_tls_failed');
    assert.equal(tokens, []);
  });
});

test('a redirect to another host is not followed', async () =>
  withImpostor(await createLeaf(authority), async (other) =>
    withImpostor(await createLeaf(authority), async (impostor) => {
      for (const status of [301, 302, 303, 307, 308]) {
        impostor.answer = () => ({ status, location: `https://127.0.0.1:${other.port}/v1/transit/config/keys` });
        await rejectsClass(ask(impostor.port), 'bao_unavailable');
      }
      assert.equal(other.tokens, []);
    }),
  ));

test('an address as configured name is verified against the address in the certificate', async () =>
  withImpostor(await createLeaf(authority, { names: ['x.example'] }), async ({ port, tokens }) => {
    await ask(port, authority.pem, '127.0.0.1');
    await rejectsClass(ask(port, authority.pem, '127.0.0.2'), 'bao_tls_failed');
    assert.is(tokens.length, 1);
  }));

for (const [what, pem] of [
  ['nothing', ''],
  ['no certificate', '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n'],
  ['a broken certificate', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'],
] as const) {
  test(`a CA bundle with ${what} is an error, not an empty trust`, () => {
    throwsClass(() => createTrust({ ca: Buffer.from(pem), tlsServerName: 'x' }), 'ca_invalid');
  });
}

test.run();
