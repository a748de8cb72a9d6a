// T21 exhaustion, OpenBao: one that was taken over, with its good certificate, answers within every limit of bytes. What the plugin makes
// of it fits in the half of its heap.

import type { AddressInfo } from 'node:net';
import { createServer, type Server } from 'node:tls';
import { Worker } from 'node:worker_threads';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { limitOf } from '../../support/patience.ts';
import { createAuthority, createLeaf } from '../../support/pki.ts';
import type { Asking } from './answers-reader.ts';

const authority = await createAuthority();
const leaf = await createLeaf(authority);
const halfOfHeapMb = 32;
const head = 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n';

/** Answers each request, once it has come, with the same bytes. */
async function withHostile(answer: Buffer, run: (address: string) => Promise<void>): Promise<void> {
  const server: Server = createServer({ cert: leaf.certificate, key: leaf.key }, (socket) => {
    socket.on('error', () => {});
    socket.once('data', () => socket.write(answer));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    await run(`https://127.0.0.1:${(server.address() as AddressInfo).port}`);
  } finally {
    server.close();
  }
}

/** @throws Error when the reader's heap is too small for what it makes of the answers */
function outcomesOf(asking: Omit<Asking, 'ca' | 'timeoutMs'>): Promise<readonly string[]> {
  const workerData: Asking = { ...asking, ca: authority.pem, timeoutMs: limitOf(15_000) };
  const resourceLimits = { maxOldGenerationSizeMb: halfOfHeapMb, maxYoungGenerationSizeMb: 6 };
  const worker = new Worker(new URL('answers-reader.ts', import.meta.url), { workerData, resourceLimits });
  return new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
}

const plain = (body: string) => Buffer.from(`${head}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
const mostBytes = 4 * 1_024 * 1_024;
const filled = (part: string) => part.repeat(Math.floor((mostBytes - 64) / part.length));

for (const [what, body] of [
  ['empty objects', `{"data":{"x":[${filled('{},')}0]}}`],
  ['empty lists', `{"data":{"x":[${filled('[],')}0]}}`],
  ['levels', `{"data":${filled('[')}`],
  ['members', `{"data":{${Array.from({ length: 330_000 }, (_, index) => `"${index}x":0`).join(',')}}}`],
] as const) {
  test(`4 MiB of ${what} as metadata of the key are no answer`, () =>
    withHostile(plain(body), async (address) => {
      assert.ok(body.length <= mostBytes);
      assert.equal(await outcomesOf({ address, operation: 'metadataRead', requests: 1 }), ['bao_protocol_error']);
    }));
}

test('sixteen Decrypts at a time, answered in parts of one byte each, are read', () =>
  withHostile(
    Buffer.from(`${head}transfer-encoding: chunked\r\n\r\n${'1\r\n \r\n'.repeat(60_000)}0\r\n\r\n`),
    async (address) => {
      const outcomes = await outcomesOf({ address, operation: 'decrypt', requests: 16 });
      assert.equal(
        outcomes,
        Array.from({ length: 16 }, () => 'bao_protocol_error'),
      );
    },
  ));

test.run();
