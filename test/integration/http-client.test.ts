// The HTTP client against answers that are late, broken, too large or dishonest, and against connections that die.

import { createServer, type Server } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createTrust } from '../../plugin/http/tls.ts';
import { createHttp, type Http } from '../../plugin/openbao/client.ts';
import { operations } from '../../plugin/openbao/operations.ts';
import { readReply } from '../../plugin/openbao/response.ts';
import { clock, random } from '../../plugin/system.ts';
import { createTransit } from '../../plugin/transit/transit.ts';
import { type ErrorClass, ProviderError } from '../../shared/errors/error.ts';
import { createAuthority, createLeaf } from '../support/pki.ts';
import { rejectsClass } from '../support/throws.ts';

const authority = await createAuthority();
const leaf = await createLeaf(authority);
const json = { 'content-type': 'application/json' };

type Reply = (
  request: import('node:http').IncomingMessage,
  response: import('node:http').ServerResponse,
  count: number,
) => void;

async function withServer(
  reply: Reply,
  run: (
    http: Http,
    server: { readonly connections: () => number; readonly requests: () => number; readonly port: number },
  ) => Promise<void>,
): Promise<void> {
  let requests = 0;
  let connections = 0;
  const sockets = new Set<Socket>();
  const server: Server = createServer({ cert: leaf.certificate, key: leaf.key }, (request, response) => {
    requests += 1;
    request.resume();
    request.on('end', () => reply(request, response, requests));
  });
  server.on('secureConnection', (socket) => {
    connections += 1;
    sockets.add(socket);
    socket.on('error', () => {});
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const trust = createTrust({ ca: Buffer.from(authority.pem), tlsServerName: 'localhost' });
  const http = createHttp({
    address: `https://127.0.0.1:${port}/base`,
    namespace: 'team/a',
    userAgent: 'bao-kms-provider/1',
    trust,
    clock,
    random,
    connections: 1,
  });
  try {
    await run(http, { connections: () => connections, requests: () => requests, port });
  } finally {
    for (const socket of sockets) socket.destroy();
    await http.close().catch(() => undefined);
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

const call = {
  operation: operations.encrypt,
  path: 'my mount/encrypt/k',
  token: 's.t',
  body: { plaintext: 'YQ==' },
  timeoutMs: 2_000,
};
const ask = async (http: Http, change: Partial<typeof call> = {}) =>
  readReply(operations.encrypt, await http.send({ ...call, ...change }));

test('a request has its path encoded once, its headers, and nothing more', async () => {
  let seen: Record<string, unknown> = {};
  await withServer(
    (request, response) => {
      seen = { url: request.url, method: request.method, ...request.headers };
      response.writeHead(200, json).end('{"data":{}}');
    },
    async (http) => {
      await ask(http);
      assert.is(seen['url'], '/base/v1/my%20mount/encrypt/k');
      assert.equal(
        ['x-vault-token', 'x-vault-namespace', 'x-vault-request', 'content-type', 'accept', 'user-agent'].map(
          (name) => seen[name],
        ),
        ['s.t', 'team/a', 'true', 'application/json', 'application/json', 'bao-kms-provider/1'],
      );
      assert.is(seen['accept-encoding'], undefined);
      assert.is(seen['cookie'], undefined);
    },
  );
});

test('each request has its own token and body, whatever the one before had', async () => {
  const seen: unknown[] = [];
  await withServer(
    (request, response) => {
      seen.push([request.url, request.headers['x-vault-token'], request.headers['content-type']]);
      response.writeHead(200, json).end('{"data":{}}');
    },
    async (http) => {
      await ask(http);
      await ask(http, { token: 's.other' });
      await http.send({ operation: operations.metadataRead, path: 'm/keys/k', token: 's.other', timeoutMs: 2_000 });
      await http.send({ operation: operations.metadataRead, path: 'm/keys/k', timeoutMs: 2_000 });
      await ask(http);
      assert.equal(seen, [
        ['/base/v1/my%20mount/encrypt/k', 's.t', 'application/json'],
        ['/base/v1/my%20mount/encrypt/k', 's.other', 'application/json'],
        ['/base/v1/m/keys/k', 's.other', undefined],
        ['/base/v1/m/keys/k', undefined, undefined],
        ['/base/v1/my%20mount/encrypt/k', 's.t', 'application/json'],
      ]);
    },
  );
});

const answers: readonly (readonly [string, number, Record<string, string>, string, ErrorClass])[] = [
  ['a redirect', 307, { location: '/elsewhere' }, '', 'bao_unavailable'],
  ['sealed', 503, json, '{"errors":["Vault is sealed"]}', 'bao_sealed'],
  ['unsealed in a text', 503, json, '{"errors":["node was unsealed late"]}', 'bao_unavailable'],
  ['sealed with status 400', 400, json, '{"errors":["Vault is sealed"]}', 'bao_invalid_request'],
  ['a failed tag', 400, json, '{"errors":["cipher: message authentication failed"]}', 'bao_decrypt_failed'],
  ['that text with 500', 500, json, '{"errors":["cipher: message authentication failed"]}', 'bao_unavailable'],
  [
    'a version a standby has not seen',
    400,
    json,
    '{"errors":["invalid ciphertext: version is too new"]}',
    'bao_unavailable',
  ],
  ['400', 400, json, '{"errors":["x"]}', 'bao_invalid_request'],
  ['401', 401, json, '{}', 'bao_unauthenticated'],
  ['403', 403, json, '{"errors":["permission denied"]}', 'bao_permission_denied'],
  ['404', 404, json, '{"errors":[]}', 'bao_not_found'],
  ['429 of a quota', 429, json, '{"errors":["rate limit quota exceeded"]}', 'bao_rate_limited'],
  ['429 of a lagging node', 429, json, '{"errors":[]}', 'bao_unavailable'],
  ['418', 418, json, '{}', 'bao_unknown'],
  ['an HTML error page', 502, { 'content-type': 'text/html' }, '<html>', 'bao_unavailable'],
  ['200 with HTML', 200, { 'content-type': 'text/html' }, '{"data":{}}', 'bao_protocol_error'],
  ['200 with broken JSON', 200, json, '{"data":', 'bao_protocol_error'],
  ['200 with a list', 200, json, '[]', 'bao_protocol_error'],
  ['an error body over 64 KiB', 400, json, `{"errors":["${'x'.repeat(65_536)}"]}`, 'bao_unavailable'],
  ['a body over its limit', 200, json, `{"data":{"x":"${'x'.repeat(262_144)}"}}`, 'bao_unavailable'],
];

for (const [what, status, headers, body, errorClass] of answers) {
  test(`${what} is ${errorClass}, without a word of the server's`, async () =>
    withServer(
      (_, response) => response.writeHead(status, headers).end(body),
      async (http) => {
        const error = await rejectsClass(ask(http), errorClass);
        assert.not.match(error.message, /Vault|cipher|quota|html|127\.0\.0\.1|mount/u);
      },
    ));
}

test('Retry-After becomes a fact', async () =>
  withServer(
    (_, response) => response.writeHead(429, { ...json, 'retry-after': '7' }).end('{"errors":["quota"]}'),
    async (http) => {
      assert.is((await rejectsClass(ask(http), 'bao_rate_limited')).facts['retryAfterMs'], 7_000);
    },
  ));

test('a server that never answers is a timeout at the deadline', async () =>
  withServer(
    () => {},
    async (http) => {
      await rejectsClass(ask(http, { timeoutMs: 150 }), 'timeout');
    },
  ));

test('a server that stops in the middle of the body is a timeout, one that closes there is unavailable or a connection failure', async () =>
  withServer(
    (_, response, count) => {
      response.writeHead(200, { ...json, 'content-length': '100' });
      response.write('{"data":');
      if (count === 2) response.socket?.destroy();
    },
    async (http) => {
      await rejectsClass(ask(http, { timeoutMs: 150 }), 'timeout');
      const error = await ask(http).catch((caught: unknown) => caught);
      assert.ok(error instanceof ProviderError && ['bao_unavailable', 'bao_connection_failed'].includes(error.class));
    },
  ));

test('the caller’s cancellation ends the request with its reason', async () =>
  withServer(
    () => {},
    async (http) => {
      const controller = new AbortController();
      const waiting = rejectsClass(http.send({ ...call, signal: controller.signal }), 'canceled');
      setTimeout(() => controller.abort(new ProviderError('canceled', 'gone')), 50);
      await waiting;
    },
  ));

test('a connection that died before a byte came back is replaced by a fresh one, reused or not', async () => {
  for (const dying of [1, 2]) {
    await withServer(
      (_, response, count) => {
        if (count === dying) return void response.socket?.destroy();
        response.writeHead(200, json).end('{"data":{}}');
      },
      async (http, server) => {
        await ask(http);
        await ask(http);
        assert.equal([server.requests(), server.connections()], [3, 2]);
      },
    );
  }
});

test('a request is sent once more and not a third time', async () => {
  await withServer(
    (_, response) => response.socket?.destroy(),
    async (http, server) => {
      await rejectsClass(ask(http), 'bao_connection_failed');
      assert.is(server.requests(), 2);
    },
  );
});

test('a refused port and a name that does not resolve have their classes', async () => {
  const trust = createTrust({ ca: Buffer.from(authority.pem), tlsServerName: 'localhost' });
  const open = (address: string) =>
    createHttp({ address, namespace: '', userAgent: 't', trust, clock, random, connections: 1 });
  await rejectsClass(open('https://127.0.0.1:9').send(call), 'bao_connection_failed');
  await rejectsClass(open('https://no-such-host.invalid').send(call), 'bao_dns_failed');
});

test('proxy variables change nothing', async () => {
  process.env['HTTPS_PROXY'] = 'http://127.0.0.1:9';
  await withServer(
    (_, response) => response.writeHead(200, json).end('{"data":{}}'),
    async (http) => {
      await ask(http);
    },
  );
  delete process.env['HTTPS_PROXY'];
});

for (const [what, data, errorClass] of [
  ['another key_version', { ciphertext: 'vault:v3:eA==', key_version: 4 }, 'transit_response_invalid'],
  ['another version in the ciphertext', { ciphertext: 'vault:v4:eA==', key_version: 3 }, 'transit_response_invalid'],
  ['an empty ciphertext', { ciphertext: '', key_version: 3 }, 'transit_response_invalid'],
  ['no ciphertext', { key_version: 3 }, 'bao_protocol_error'],
] as const) {
  test(`an Encrypt answer with ${what} is ${errorClass}`, async () => {
    const transit = createTransit('m', 'k', async () => ({ data, auth: undefined, requestId: undefined, status: 200 }));
    await rejectsClass(
      transit.encrypt({ keyVersion: 3, plaintext: Buffer.from('x'), aad: Buffer.from('a') }),
      errorClass,
    );
  });
}

for (const [what, data, errorClass] of [
  ['an empty plaintext', { plaintext: '' }, 'transit_response_invalid'],
  ['no base64', { plaintext: 'a$' }, 'bao_protocol_error'],
  ['a number', { plaintext: 1 }, 'bao_protocol_error'],
] as const) {
  test(`a Decrypt answer with ${what} is ${errorClass}`, async () => {
    const transit = createTransit('m', 'k', async () => ({ data, auth: undefined, requestId: undefined, status: 200 }));
    await rejectsClass(transit.decrypt({ ciphertext: 'vault:v1:eA==', aad: Buffer.from('a') }), errorClass);
  });
}

const metadata = {
  name: 'k',
  type: 'aes256-gcm96',
  latest_version: 1,
  min_available_version: 0,
  min_decryption_version: 1,
  min_encryption_version: 0,
  derived: false,
  exportable: false,
  allow_plaintext_backup: false,
  deletion_allowed: false,
  supports_encryption: true,
  supports_decryption: true,
  keys: { '1': 1_750_000_000.9 },
};
for (const [what, change, errorClass] of [
  ['another type', { type: 'rsa-2048', keys: { '1': { name: 'x' } } }, 'profile_invalid'],
  ['a text as version', { latest_version: '1' }, 'bao_protocol_error'],
  ['a fraction as version', { latest_version: 1.5 }, 'bao_protocol_error'],
  ['a missing flag', { deletion_allowed: undefined }, 'bao_protocol_error'],
  ['a text as flag', { exportable: 'false' }, 'bao_protocol_error'],
  ['keys as a list', { keys: [1] }, 'bao_protocol_error'],
  ['a negative version name', { keys: { '-1': 1 } }, 'profile_invalid'],
  ['a padded version name', { keys: { '01': 1 } }, 'profile_invalid'],
  ['a text as creation time', { keys: { '1': '2020-01-01' } }, 'bao_protocol_error'],
] as const) {
  test(`metadata with ${what} is ${errorClass}`, async () => {
    const transit = createTransit('m', 'k', async () => ({
      data: { ...metadata, ...change },
      auth: undefined,
      requestId: undefined,
      status: 200,
    }));
    await rejectsClass(transit.readKey(), errorClass);
  });
}

test('creation times are truncated to whole seconds', async () => {
  const transit = createTransit('m', 'k', async () => ({
    data: metadata,
    auth: undefined,
    requestId: undefined,
    status: 200,
  }));

  assert.is((await transit.readKey()).versions.get(1), 1_750_000_000);
});

test.run();
