// T21 exhaustion, the network: whoever is at the address of OpenBao without its certificate cannot make the event loop compute in a group
// that he has chosen. Nothing of TLS is computed here but one signature: an attacker needs no more.

import { constants, createPrivateKey, randomBytes, sign, X509Certificate } from 'node:crypto';
import { type AddressInfo, createServer } from 'node:net';
import { createServer as createSecureServer } from 'node:tls';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createAddresses } from '../../../plugin/http/addresses.ts';
import { createDial } from '../../../plugin/http/dial.ts';
import { connectTls, createTrust } from '../../../plugin/http/tls.ts';
import { createFakeClock } from '../../support/fake-clock.ts';
import { createAuthority, createRsaLeaf, type Leaf } from '../../support/pki.ts';

const authority = await createAuthority();
const stranger = await createRsaLeaf();

/** First bytes of a TLS record. */
const contentTypes = { alert: 21, handshake: 22 } as const;

const number = (value: number, sizeBytes: number) => {
  const bytes = Buffer.alloc(sizeBytes);
  bytes.writeUIntBE(value, 0, sizeBytes);
  return bytes;
};
const counted = (bytes: Buffer, sizeBytes: number) => Buffer.concat([number(bytes.length, sizeBytes), bytes]);
const message = (type: number, body: Buffer) => {
  const whole = Buffer.concat([number(type, 1), counted(body, 3)]);
  return Buffer.concat([number(contentTypes.handshake, 1), number(0x0303, 2), counted(whole, 2)]);
};

/** What a TLS 1.2 server says up to the key of the client, with DHE-RSA-AES128-GCM-SHA256. */
function flightOf(clientHello: Buffer, { certificate, key }: Leaf, groupBytes: number): Buffer {
  const clientRandom = clientHello.subarray(11, 43);
  const serverRandom = randomBytes(32);
  const noMore = Buffer.from([0xff, 1, 0, 1, 0]);
  const chosen = Buffer.concat([number(0x0303, 2), serverRandom, number(0, 1), number(0x009e, 2), number(0, 1)]);
  const prime = randomBytes(groupBytes);
  prime[0] = 0xff;
  prime[groupBytes - 1] = 0xff;
  const share = randomBytes(groupBytes - 1);
  const group = Buffer.concat([counted(prime, 2), counted(Buffer.from([2]), 2), counted(share, 2)]);
  const signature = sign('sha256', Buffer.concat([clientRandom, serverRandom, group]), {
    key: createPrivateKey(key),
    padding: constants.RSA_PKCS1_PADDING,
  });
  return Buffer.concat([
    message(2, Buffer.concat([chosen, counted(noMore, 2)])),
    message(11, counted(counted(new X509Certificate(certificate).raw, 3), 3)),
    message(12, Buffer.concat([group, number(0x0401, 2), counted(signature, 2)])),
    message(14, Buffer.alloc(0)),
  ]);
}

test('a server that chooses a group of its own gets an alert, and no key that was computed in it', async () => {
  let answered: number | undefined;
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', (hello: Buffer) => {
      // 2 048 bits: a client that would compute does so at once.
      socket.write(flightOf(hello, stranger, 256));
      socket.once('data', (answer: Buffer) => {
        answered = answer[0];
        socket.destroy();
      });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const trust = createTrust({ ca: Buffer.from(authority.pem), tlsServerName: 'localhost' });
  const refused = await connectTls(trust, { host: '127.0.0.1', port }, new AbortController().signal).then(
    () => false,
    () => true,
  );
  await new Promise((resolve) => server.close(resolve));
  assert.ok(refused);
  assert.is(answered, contentTypes.alert);
});

/** Handshakes that are begun with whoever has no right certificate, each of 400 ms, within ten seconds. */
async function handshakesInTenSeconds(): Promise<number> {
  const clock = createFakeClock();
  const tls = createSecureServer({ key: stranger.key, cert: stranger.certificate });
  tls.on('tlsClientError', () => {});
  let begun = 0;
  const server = createServer((socket) => {
    begun += 1;
    socket.on('error', () => {});
    // What the runtime computes meanwhile cannot be seen from outside; the clock moves instead.
    void clock.advance(400).then(() => tls.emit('connection', socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const trust = createTrust({ ca: Buffer.from(authority.pem), tlsServerName: 'localhost' });
  const dial = createDial({ trust, port, clock, addresses: createAddresses('127.0.0.1', clock) });
  const untilMs = clock.nowMs() + 10_000;
  while (clock.nowMs() < untilMs) {
    let isOver = false;
    void dial(new AbortController().signal)
      .catch(() => undefined)
      .finally(() => {
        isOver = true;
      });
    while (!isOver) await clock.advance(10);
  }
  await new Promise((resolve) => server.close(resolve));
  return begun;
}

test('a chain that takes long to refuse takes a small share of the time, and not all of it', async () => {
  const begun = await handshakesInTenSeconds();
  assert.ok(begun >= 3 && begun <= 10, `${begun} handshakes of 400 ms in 10 s`);
});

test.run();
