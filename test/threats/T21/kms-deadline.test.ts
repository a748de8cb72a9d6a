// T21 exhaustion through the network: OpenBao's port accepts connections and then nothing more comes, or the name does not resolve, or
// every connection is taken. A request ends by its own deadline whatever it waits for, and its Encrypt gives the slot back.

import { type AddressInfo, createServer, type Socket } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createTrust } from '../../../plugin/http/tls.ts';
import { createKms } from '../../../plugin/kms/kms.ts';
import { createHttp, type Http, type HttpOptions } from '../../../plugin/openbao/client.ts';
import { operations } from '../../../plugin/openbao/operations.ts';
import { createFakeClock, type FakeClock } from '../../support/fake-clock.ts';
import { until } from '../../support/patience.ts';
import { createAuthority } from '../../support/pki.ts';

const authority = await createAuthority();

type Silent = { readonly http: Http; readonly clock: FakeClock; readonly sockets: ReadonlySet<Socket> };

/** A port that accepts and never says a word. */
async function withSilence(change: Partial<HttpOptions>, run: (silent: Silent) => Promise<void>): Promise<void> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.resume();
    socket.once('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const clock = createFakeClock();
  const http = createHttp({
    address: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    namespace: '',
    userAgent: 'test',
    trust: createTrust({ ca: Buffer.from(authority.pem), tlsServerName: 'localhost' }),
    clock,
    random: () => 0.5,
    connections: 2,
    ...change,
  });
  try {
    await run({ http, clock, sockets });
  } finally {
    await clock.advance(60_000);
    await http.close();
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  }
}

const send = (http: Http, signal?: AbortSignal) =>
  http.send({
    operation: operations.encrypt,
    path: 'transit/encrypt/k',
    timeoutMs: 2_000,
    ...(signal === undefined ? {} : { signal }),
  });

/** The Encrypts that are running over this client, and what became of those that have ended. */
function encryptOver({ http, clock }: Silent) {
  const kms = createKms({
    clock,
    keys: {
      status: () => ({ healthz: 'ok', keyId: 'key', transitKeyVersion: 1 }),
      encrypt: async (_, __, signal) => {
        await send(http, signal);
        throw new Error('nobody answers');
      },
      trim: (annotations) => ({ annotations, areSound: true }),
      resolve: () => Promise.reject(new Error('unused')),
      decrypt: () => Promise.reject(new Error('unused')),
      decryptTogether: () => Promise.reject(new Error('unused')),
    },
    settings: {
      maxConcurrentStatus: 1,
      maxConcurrentEncrypt: 8,
      maxConcurrentDecrypt: 1,
      isBatching: false,
      timeoutMs: 2_000,
    },
    record: () => {},
    countKeyIdError: () => {},
    countAadError: () => {},
  });
  const classes: string[] = [];
  const request = { plaintext: Buffer.alloc(32), uid: 'u' };
  const call = {
    signal: new AbortController().signal,
    deadlineMs: Number.POSITIVE_INFINITY,
    connection: {},
    end: () => {},
  };
  for (let index = 0; index < 8; index += 1) {
    void kms.encrypt(request, call).then((answer) => {
      classes.push('failure' in answer ? answer.failure.errorClass : 'ok');
    });
  }
  return { kms, classes };
}

test('TCP accepts and TLS stalls: Encrypts end after 2 s, those that wait for a connection too, and no slot stays taken', () =>
  withSilence({}, async (silent) => {
    const { kms, classes } = encryptOver(silent);
    await until(() => silent.sockets.size === 2, 'all the connections there may be');
    await silent.clock.advance(1_999);
    assert.equal([classes, kms.inFlight().encrypt], [[], 8]);
    await silent.clock.advance(1);
    assert.equal([classes, kms.inFlight().encrypt], [Array(8).fill('timeout'), 0]);
  }));

test('a connection that is still being made goes on for others, until 10 s after its beginning', () =>
  withSilence({ connections: 1 }, async ({ http, clock, sockets }) => {
    void send(http).catch(() => {});
    await until(() => sockets.size === 1, 'the first attempt');
    await clock.advance(9_000);
    assert.ok(sockets.size > 0);
    await clock.advance(1_000);
    await until(() => sockets.size === 0, 'the end of all attempts');
  }));

test('a name that is never resolved holds a request no longer than its deadline', () =>
  withSilence({ address: 'https://openbao.example', resolve: () => new Promise(() => {}) }, async (silent) => {
    const { kms, classes } = encryptOver(silent);
    await silent.clock.advance(2_000);
    assert.equal([classes, kms.inFlight().encrypt], [Array(8).fill('timeout'), 0]);
  }));

test.run();
