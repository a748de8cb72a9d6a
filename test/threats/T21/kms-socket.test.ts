// T21 exhaustion of the KMS socket: a member of its group opens connections, begins calls that it never ends, sends bodies in parts,
// and gives calls up. Nobody else notices.

import type { ClientHttp2Stream } from 'node:http2';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  breakProtocol,
  burstOfResets,
  burstOfTerseResets,
  connectSilently,
  connectStranger,
  framed,
  statusOf,
  withKmsSocket,
} from '../../support/kms-socket.ts';
import { until } from '../../support/patience.ts';

const empty = Buffer.alloc(0);

/** How many of them are open. */
const openOf = (streams: readonly ClientHttp2Stream[]) => streams.filter((stream) => !stream.closed).length;

test('the 65th connection is closed at once when the 64 others are used, and those go on', () =>
  withKmsSocket(async ({ path, reached }) => {
    const strangers = Array.from({ length: 64 }, () => connectStranger(path));
    const answers = await Promise.all(strangers.map((stranger) => stranger.call('Status', empty)));
    assert.ok(answers.every((status) => status === 0));

    const late = await connectSilently(path);
    await until(() => late.destroyed || late.readableEnded || late.closed, 'the end of the 65th connection');
    assert.is(reached.get('connections'), 1);
    assert.is(await strangers[0]?.call('Status', empty), 0);
    for (const stranger of strangers) stranger.close();
  }));

test('connections that are never used make room for one that is', () =>
  withKmsSocket(async ({ path, client, reached, skipMs }) => {
    const idle = await Promise.all(Array.from({ length: 64 }, () => connectSilently(path)));
    skipMs(3_000);

    assert.is((await client.status()).healthz, 'ok');
    assert.is(reached.get('connection_unused'), 1);
    for (const socket of idle) socket.destroy();
  }));

test('8 000 half-open calls and their bodies hold no more than 8 MiB: their oldest go, and an older one of somebody else stays', () =>
  withKmsSocket(
    async ({ path, client, reached }) => {
      assert.is((await client.status()).healthz, 'ok');
      const slow = connectStranger(path);
      const older = slow.begin('Decrypt');
      await new Promise((resolve) => setImmediate(resolve));
      const strangers = Array.from({ length: 8 }, () => connectStranger(path));
      const part = framed(Buffer.alloc(60_000)).subarray(0, 2_000);
      const streams: ClientHttp2Stream[] = [];
      for (let index = 0; index < 8_000; index += 1) {
        const stream = strangers[index % 8]?.begin('Decrypt', part);
        if (stream !== undefined) streams.push(stream);
        if (index % 500 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      await until(() => openOf(streams) <= 830, 'no more open than 8 MiB of 10 KB each');
      assert.ok((reached.get('half_open_bytes') ?? 0) > 6_000);
      assert.is((await client.status()).healthz, 'ok');
      assert.is((await client.encrypt(Buffer.alloc(32))).keyId, 'key');
      assert.is(openOf([older]), 1, 'the older call is open');
      for (const stranger of [slow, ...strangers]) stranger.close();
    },
    { timeoutMs: 600_000 },
  ));

test('half-open Encrypts take slots from their first byte, and give way to a call whose body comes', () =>
  withKmsSocket(
    async ({ path, kms, client, reached }) => {
      const stranger = connectStranger(path);
      const streams = Array.from({ length: 100 }, () => stranger.begin('Encrypt'));
      await until(() => openOf(streams) === 32, '32 of 100 half-open calls');
      assert.is(kms.inFlight().encrypt, 32);
      assert.is((await client.encrypt(Buffer.alloc(32))).keyId, 'key');
      assert.is(reached.get('slot_yielded'), 69);
      stranger.close();
      await until(() => kms.inFlight().encrypt === 0, 'no slot taken');
    },
    { timeoutMs: 600_000 },
  ));

test('a call whose body never comes is ended by its deadline', () =>
  withKmsSocket(
    async ({ path, kms, reached }) => {
      const stranger = connectStranger(path);
      assert.is(await statusOf(stranger.begin('Encrypt', Buffer.alloc(3))), 4);
      assert.is(await statusOf(stranger.begin('Decrypt')), 4);
      assert.is(reached.get('body_late'), 2);
      assert.is(kms.inFlight().encrypt, 0);
      stranger.close();
    },
    { timeoutMs: 100 },
  ));

test('answers that a client does not take are counted like calls that it does not end, and dropped in time', () =>
  withKmsSocket(
    async ({ path, reached }) => {
      const stranger = connectStranger(path, { initialWindowSize: 0 });
      const streams = Array.from({ length: 900 }, () => stranger.begin('Decrypt'));
      for (const stream of streams) stream.end(framed(Buffer.from([0x0a, 1, 1])));
      await until(() => reached.get('answer_untaken') === 900, 'all of them dropped');
      await until(() => openOf(streams) === 0, 'no stream open');
      stranger.close();
    },
    { haste: 20, timeoutMs: 600_000 },
  ));

test('a connection without a call for ten minutes is told to go; an honest client comes back by itself', () =>
  withKmsSocket(
    async ({ path, client, reached }) => {
      const stranger = connectStranger(path);
      let isTold = false;
      stranger.session.once('goaway', () => {
        isTold = true;
      });
      const silent = await connectSilently(path);
      assert.is(await stranger.call('Status', empty), 0);
      assert.is((await client.status()).healthz, 'ok');
      await until(() => isTold && stranger.session.destroyed, 'the GOAWAY');
      await until(() => silent.destroyed || silent.readableEnded || silent.closed, 'the end of one that never spoke');
      await until(() => (reached.get('connection_idle') ?? 0) >= 3, 'all three idle');
      assert.is((await client.status()).healthz, 'ok');
    },
    { haste: 2_000 },
  ));

test('9 000 calls that are given up at once harm neither another call of their connection nor another connection', () =>
  withKmsSocket(async ({ path, client, reached }) => {
    assert.is(await burstOfResets(path, 9_000), 'answered');
    assert.is(await burstOfTerseResets(path, 9_000), 'answered');
    assert.is((await client.status()).healthz, 'ok');
    assert.not.ok(reached.has('resets'));
  }));

test('a connection that gives up 12 000 is cut, which is UNAVAILABLE for its other calls, and never reset as INTERNAL', () =>
  withKmsSocket(async ({ path, client, reached }) => {
    assert.is(await burstOfResets(path, 12_000), 'closed');
    assert.is(reached.get('resets'), 1);
    assert.is((await client.status()).healthz, 'ok');
  }));

test('a connection that breaks the protocol is cut as well: its calls are not reset', () =>
  withKmsSocket(async ({ path, client }) => {
    assert.is(await breakProtocol(path), 'closed');
    assert.is(await burstOfTerseResets(path, 100_000), 'closed');
    assert.is((await client.status()).healthz, 'ok');
  }));

test.run();
