// The plugin's end of the channel: what is wrong with it or over is said once, and nothing is written afterwards.

import { duplexPair } from 'node:stream';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openChannel } from '../../../../plugin/channel/channel.ts';
import { encodeFrame, FrameDecoder } from '../../../../shared/channel/frame.ts';
import { encodeMessage, parsePluginMessage } from '../../../../shared/channel/messages.ts';
import { errorClassOf } from '../../../../shared/errors/error.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';

const ping = (id: number) => encodeFrame(encodeMessage({ kind: 'ping', id }));

function bench() {
  const [near, far] = duplexPair();
  const { settle } = createFakeClock();
  const said: unknown[] = [];
  const received: string[] = [];
  const decoder = new FrameDecoder();
  far.on('data', (chunk: Buffer) => {
    for (const payload of decoder.push(chunk)) received.push(parsePluginMessage(payload).kind);
  });
  far.on('error', () => {});
  const channel = openChannel(
    near,
    (message) => said.push('id' in message ? `${message.kind} ${message.id}` : message.kind),
    (error) => said.push(['lost', error === undefined ? undefined : errorClassOf(error)]),
  );
  return { near, far, settle, said, received, channel };
}

test('messages come in their order, also in pieces, and answers leave', async () => {
  const { far, settle, said, received, channel } = bench();
  const bytes = Buffer.concat([ping(1), ping(2)]);
  for (const byte of bytes) far.write(Buffer.from([byte]));
  await settle();
  assert.equal(said, ['ping 1', 'ping 2']);
  channel.send({ kind: 'pong', id: 2, lagMs: 0 });
  await settle();
  assert.equal(received, ['pong']);
});

test('the end of the other side is the end, said once', async () => {
  const { far, near, settle, said, received, channel } = bench();
  far.end();
  await settle();
  near.destroy();
  await settle();
  assert.equal(said, [['lost', undefined]]);
  channel.send({ kind: 'pong', id: 1, lagMs: 0 });
  await settle();
  assert.equal(received, []);
});

for (const [what, bytes, errorClass] of [
  ['no message', encodeFrame(Buffer.from('{"kind":"nothing"}')), 'message_invalid'],
  ['an empty frame', Buffer.alloc(4), 'frame_malformed'],
] as const) {
  test(`${what} is the end, with its class, and what came before it was heard`, async () => {
    const { far, settle, said, received, channel } = bench();
    far.write(ping(1));
    await settle();
    far.write(bytes);
    await settle();
    assert.equal(said, ['ping 1', ['lost', errorClass]]);
    channel.send({ kind: 'pong', id: 1, lagMs: 0 });
    await settle();
    assert.equal(received, []);
  });
}

test.run();
