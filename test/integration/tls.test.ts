// Which servers the configured trust accepts, and what is said about those it refuses, against real TLS listeners. A handshake
// is a proof of its own: it sends nothing.

import { createServer, type Server } from 'node:https';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createTrust } from '../../plugin/http/tls.ts';
import { createHttp } from '../../plugin/openbao/client.ts';
import { clock, random } from '../../plugin/system.ts';
import { causeOf, type TlsDetail } from '../../shared/errors/cause.ts';
import { ProviderError } from '../../shared/errors/error.ts';
import { createAuthority, createIntermediate, createLeaf, type Leaf } from '../support/pki.ts';
import { rejectsClass } from '../support/throws.ts';

const authority = await createAuthority();
const stranger = await createAuthority('somebody else');
const dayMs = 86_400_000;

type Listening = { readonly port: number; readonly requests: () => number };

async function withListener(
  leaf: Leaf,
  run: (listening: Listening) => Promise<void>,
  options: object = {},
): Promise<void> {
  let requests = 0;
  const server: Server = createServer({ cert: leaf.certificate, key: leaf.key, ...options }, (_, response) => {
    requests += 1;
    response.end();
  });
  server.on('tlsClientError', () => {});
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    await run({ port: (server.address() as AddressInfo).port, requests: () => requests });
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

async function handshake(
  port: number,
  { ca = authority.pem, tlsServerName = 'localhost', timeoutMs = 5_000, signal = new AbortController().signal } = {},
): Promise<void> {
  const trust = createTrust({ ca: Buffer.from(ca), tlsServerName });
  const address = `https://127.0.0.1:${port}`;
  const http = createHttp({ address, namespace: '', userAgent: 't', trust, clock, random, connections: 1 });
  await http.handshake({ timeoutMs, signal }).finally(() => http.close());
}

test('a handshake with the right server succeeds and sends no request', async () =>
  withListener(await createLeaf(authority), async ({ port, requests }) => {
    await handshake(port);

    assert.is(requests(), 0);
  }));

const refused: readonly (readonly [string, TlsDetail, () => Promise<Leaf>, object?])[] = [
  ['signed by another CA', 'untrusted_ca', () => createLeaf(stranger)],
  ['signed by itself', 'untrusted_ca', async () => createSelfSigned()],
  ['with another name', 'server_name', () => createLeaf(authority, { names: ['bao.example'] })],
  [
    'whose only name is its common name',
    'server_name',
    () => createLeaf(authority, { commonName: 'localhost', names: [], addresses: [] }),
  ],
  [
    'with an address beside its common name',
    'server_name',
    () => createLeaf(authority, { commonName: 'localhost', names: [], addresses: ['127.0.0.1'] }),
  ],
  [
    'that has expired',
    'certificate_expired',
    () =>
      createLeaf(authority, {
        notBefore: new Date(Date.now() - 3 * dayMs),
        notAfter: new Date(Date.now() - dayMs / 2),
      }),
  ],
  [
    'that is not valid yet',
    'certificate_expired',
    () => createLeaf(authority, { notBefore: new Date(Date.now() + dayMs / 2) }),
  ],
  [
    'of a server that speaks TLS 1.1 only',
    'protocol_version',
    () => createLeaf(authority),
    { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' },
  ],
  [
    'of a server that shares no cipher with us',
    'other',
    () => createLeaf(authority),
    { maxVersion: 'TLSv1.2', ciphers: 'AES128-SHA' },
  ],
];

async function createSelfSigned(): Promise<Leaf> {
  const lone = await createAuthority('localhost');
  const leaf = await createLeaf(lone);
  return { ...leaf, certificate: `${leaf.certificate}\n${lone.pem}` };
}

for (const [what, detail, leaf, options] of refused) {
  test(`a certificate ${what} is bao_tls_failed with detail ${detail}`, async () =>
    withListener(
      await leaf(),
      async ({ port, requests }) => {
        const error = await rejectsClass(handshake(port), 'bao_tls_failed');

        assert.is(causeOf(error).detail, detail);
        assert.is(requests(), 0);
        assert.not.match(error.message, /127\.0\.0\.1|somebody|bao\.example|localhost/u);
      },
      options,
    ));
}

test('a listener that speaks no TLS is bao_tls_failed with detail other', async () => {
  const plain = createTcpServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => socket.end('HTTP/1.0 400 Bad Request\r\n\r\n'));
  });
  await new Promise<void>((resolve) => plain.listen(0, '127.0.0.1', resolve));

  const error = await rejectsClass(handshake((plain.address() as AddressInfo).port), 'bao_tls_failed');

  assert.is(causeOf(error).detail, 'other');
  await new Promise((resolve) => plain.close(resolve));
});

test('each detail has a sentence of its own', async () => {
  const sentences = new Set<string>();
  for (const [, , leaf, options] of refused) {
    await withListener(
      await leaf(),
      async ({ port }) => {
        const error = await handshake(port).catch((caught: unknown) => caught);
        if (error instanceof ProviderError) sentences.add(error.message);
      },
      options,
    );
  }
  assert.is(sentences.size, 5);
});

test('an intermediate as the only anchor is trusted, whether the server sends it or not', async () => {
  const issuing = await createIntermediate(authority);
  const leaf = await createLeaf(issuing);

  await withListener(leaf, ({ port }) => handshake(port, { ca: issuing.pem }));
  await withListener({ ...leaf, certificate: `${leaf.certificate}\n${issuing.pem}` }, ({ port }) =>
    handshake(port, { ca: issuing.pem }),
  );
});

test('an intermediate of a stranger is no anchor for others', async () => {
  const issuing = await createIntermediate(stranger);

  await withListener(await createLeaf(authority), async ({ port }) => {
    const error = await rejectsClass(handshake(port, { ca: issuing.pem }), 'bao_tls_failed');
    assert.is(causeOf(error).detail, 'untrusted_ca');
  });
});

test('a handshake that takes too long is a timeout, one that is canceled ends with the reason', async () => {
  const silent = createTcpServer((socket) => socket.on('error', () => {}).resume());
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  const { port } = silent.address() as AddressInfo;
  const canceled = new AbortController();

  await rejectsClass(handshake(port, { timeoutMs: 100 }), 'timeout');
  setTimeout(() => canceled.abort(new ProviderError('canceled', 'gone')), 50);
  await rejectsClass(handshake(port, { signal: canceled.signal }), 'canceled');

  await new Promise((resolve) => silent.close(resolve));
});

test('a refused port and a name that does not resolve keep their classes', async () => {
  await rejectsClass(handshake(9), 'bao_connection_failed');
  const trust = createTrust({ ca: Buffer.from(authority.pem), tlsServerName: 'localhost' });
  const address = 'https://no-such-host.invalid';
  const http = createHttp({ address, namespace: '', userAgent: 't', trust, clock, random, connections: 1 });
  await rejectsClass(http.handshake({ timeoutMs: 5_000 }), 'bao_dns_failed');
});

test.run();
