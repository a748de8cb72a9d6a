// What a plugin can make the supervisor hold over the channel: nothing that is not told from the begin of a frame, no more values
// than a message has, no frame that does not end, no word of its own; and it cannot leave unread what it is told.

import { duplexPair } from 'node:stream';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { encodeFrame, FrameDecoder } from '../../../../shared/channel/frame.ts';
import { type PluginMessage, parsePluginMessage } from '../../../../shared/channel/messages.ts';
import { parseProcStatus } from '../../../../shared/confinement/confinement.ts';
import { encodeState, parseState } from '../../../../shared/registry/state.ts';
import { checkStructure, countStructure } from '../../../../shared/text/json-structure.ts';
import { type ChannelPhase, openSupervisorChannel } from '../../../../supervisor/channel/channel.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';
import { throwsClass } from '../../../support/throws.ts';
import { firstState, nextState, snapshot } from '../../../support/vectors.ts';

const confinement = parseProcStatus('');
const ready: PluginMessage = { kind: 'ready', confinement, isPermissionModelOn: true };
const health = { kind: 'health', healthz: 'ok', reasons: [], errorClasses: [], rotationState: 'active' } as const;

/** A plugin whose stream is read or not, and a supervisor's end that has heard `ready`. */
async function createBench(isReading = true, firstPhase: ChannelPhase = 'starting') {
  const [stream, far] = duplexPair();
  far.on('error', () => {});
  if (isReading) far.resume();
  const clock = createFakeClock();
  const ends: string[] = [];
  let heard = 0;
  const channel = openSupervisorChannel(
    stream,
    {
      receive: () => {
        heard += 1;
      },
      violated: (errorClass) => ends.push(errorClass),
      stuck: () => ends.push('stuck'),
    },
    clock,
    firstPhase,
  );
  const write = async (bytes: Buffer) => {
    if (far.writable) far.write(bytes);
    await clock.settle();
  };
  await write(encodeFrame(Buffer.from(JSON.stringify(ready))));
  assert.is(heard, 1);
  return { clock, ends, channel, write, heard: () => heard, stream };
}

/** Header and begin of a frame, not its body. */
function beginOf(text: string, lengthBytes: number): Buffer {
  const header = Buffer.alloc(4);
  header.writeUInt32BE(lengthBytes);
  return Buffer.concat([header, Buffer.from(text)]);
}

for (const kind of ['health', 'pong', 'credential_result', 'drained', 'report', 'nothing']) {
  test(`a frame of kind ${kind} over 4 KiB is refused from its begin`, async () => {
    const { ends, write } = await createBench();
    await write(beginOf(`{"kind":"${kind}","x":"xxxxxxxxxxxxxxxxxxxxx`, 4_097));

    assert.equal(ends, ['frame_malformed']);
  });
}

test('only a proposal may be long, and only one at a time', async () => {
  const { ends, write } = await createBench();
  await write(beginOf('{"kind":"propose","commitId":1,"state":"', 4_000_000));
  assert.equal(ends, []);
  const second = await createBench();
  await second.write(encodeFrame(Buffer.from(JSON.stringify({ kind: 'propose', commitId: 1, state: '{}' }))));
  await second.write(beginOf('{"kind":"propose","commitId":2,"state":"', 4_000_000));
  assert.equal(second.ends, ['channel_violation']);
});

test('a second proposal is no answer away: only `committed` is one', async () => {
  const { channel, ends, write } = await createBench();
  const proposal = encodeFrame(Buffer.from(JSON.stringify({ kind: 'propose', commitId: 1, state: '{}' })));
  await write(proposal);
  channel.send({ kind: 'ping', id: 1 });
  await write(proposal);
  assert.equal(ends, ['channel_violation']);
  const answered = await createBench();
  await answered.write(proposal);
  answered.channel.send({ kind: 'committed', commitId: 1, outcome: 'saved', onDisk: 'attempted' });
  await answered.write(proposal);
  assert.equal([answered.ends, answered.heard()], [[], 3]);
});

test('a report of a task may have 16 KiB, after its `ready`, and nothing else there may be long', async () => {
  const report = {
    kind: 'report',
    task: 'read_key',
    metadata: 'pass',
    contradictedVersions: Array(256).fill(Number.MAX_SAFE_INTEGER),
  };
  const text = JSON.stringify(report);
  assert.ok(text.length > 4_096);
  const task = await createBench(true, 'task');
  await task.write(encodeFrame(Buffer.from(text)));
  assert.equal([task.ends, task.heard()], [[], 2]);
  for (const [begin, lengthBytes, expected] of [
    ['{"kind":"report","metadata":"pass","x":"', 16_384, []],
    ['{"kind":"report","metadata":"pass","x":"', 16_385, ['frame_malformed']],
    ['{"kind":"propose","commitId":1,"state":"', 4_097, ['frame_malformed']],
  ] as const) {
    const { ends, write } = await createBench(true, 'task');
    await write(beginOf(begin, lengthBytes));
    assert.equal(ends, expected, `${begin} ${lengthBytes}`);
  }
});

test('before its `ready` a plugin proposes nothing long either', async () => {
  const { ends, write, channel } = await createBench();
  channel.setPhase('starting');
  await write(beginOf('{"kind":"propose","commitId":1,"state":"', 4_097));
  assert.equal(ends, ['frame_malformed']);
});

test('after a violation it is deaf: what came with it, what comes later, and its clocks', async () => {
  const { clock, ends, write, heard, stream, channel } = await createBench(false);
  channel.send(credential);
  const good = encodeFrame(Buffer.from(JSON.stringify(health)));
  const bad = encodeFrame(Buffer.from('{"kind":"nothing"}'));
  await write(Buffer.concat([good, bad, good, good.subarray(0, 9)]));
  assert.equal([ends, heard(), stream.destroyed], [['message_invalid'], 2, true]);
  stream.emit('data', good);
  channel.send(credential);
  await clock.advance(60_000);
  assert.equal([ends, heard(), clock.timers()], [['message_invalid'], 2, 0]);
});

test('a frame that has begun does not outlive its stream', async () => {
  const { clock, ends, write, stream } = await createBench();
  await write(beginOf('{"kind":"propose","commitId":1,"state":"', 100_000));
  stream.destroy();
  await clock.settle();
  await clock.advance(60_000);
  assert.equal(ends, []);
});

test('51 frames within a second are too many, however they are spread over it', async () => {
  const frame = encodeFrame(Buffer.from(JSON.stringify(health)));
  const send = async (count: number, everyMs: number) => {
    const { clock, ends, write } = await createBench();
    await clock.advance(1_000);
    for (let sent = 0; sent < count; sent += 1) {
      await write(frame);
      await clock.advance(everyMs);
    }
    return ends;
  };
  assert.equal(await send(51, 19), ['channel_violation']);
  assert.equal(await send(60, 21), []);
});

test('eight megabytes of small objects are refused before they are parsed', async () => {
  const { ends, write } = await createBench();
  const body = `{"kind":"propose","commitId":1,"state":"","x":[${'{},'.repeat(2_700_000)}{}]}`;
  await write(encodeFrame(Buffer.from(body)));

  assert.equal(ends, ['message_invalid']);
  assert.match(
    throwsClass(() => parsePluginMessage(Buffer.from(body)), 'message_invalid').message,
    /more values than/u,
  );
});

test('braces, brackets and commas are bounded each by itself; the bound itself is kept', () => {
  const greatest = { containers: 2, separators: 3 };
  for (const text of ['{[', '[]{}', ',,,', '{,[,,']) checkStructure(Buffer.from(text), greatest);
  for (const text of ['{[{', '[[[', '{{{', ',,,,']) {
    throwsClass(() => checkStructure(Buffer.from(text), greatest), 'message_invalid');
  }
});

test('a state of small objects, or of many members, is refused before it is parsed', () => {
  const objects = `{"snapshots":[${'{},'.repeat(1_300_000)}{}]}`;
  const members = `{${Array.from({ length: 400_000 }, (_, index) => `"${index.toString(36)}":1`).join(',')}}`;
  for (const text of [objects, members, '['.repeat(8_201)]) {
    assert.match(throwsClass(() => parseState(text), 'state_corrupt').message, /more values than/u);
  }
});

test('the largest state is read, with every member of every record', () => {
  const record = (version: number) =>
    snapshot(version, { state: 'retired', stableObservationCount: 3, stableAtUnix: 1_750_000_200 });
  const skipped = Array.from({ length: 4_095 }, (_, index) => record(index + 2));
  const full = nextState(firstState(), [snapshot(1), ...skipped]);
  const { containers, separators } = countStructure(Buffer.from(encodeState(full)));

  assert.is(parseState(encodeState(full)).currentHash, full.currentHash);
  assert.ok(containers <= 8_200 && separators <= 61_500, `${containers} ${separators}`);
});

test('what stands in a string is no structure, whatever is escaped there', () => {
  for (const value of [{ a: '{[,' }, { a: '"{' }, { a: '\\' }, { a: '\\"[' }, ['{', '\\\\', '"']]) {
    const { containers, separators } = countStructure(Buffer.from(JSON.stringify(value)));
    assert.equal([containers, separators], [1, Array.isArray(value) ? 2 : 0]);
  }
});

test('a frame that comes byte by byte lies in one buffer', () => {
  const payload = Buffer.from(JSON.stringify({ kind: 'propose', commitId: 1, state: 'x'.repeat(200_000) }));
  const decoder = new FrameDecoder();
  const found: Buffer[] = [];
  const { allocUnsafe } = Buffer;
  let grown = 0;
  Buffer.allocUnsafe = (sizeBytes) => {
    grown += sizeBytes;
    return allocUnsafe(sizeBytes);
  };
  try {
    for (const byte of encodeFrame(payload)) found.push(...decoder.push(Buffer.from([byte])));
  } finally {
    Buffer.allocUnsafe = allocUnsafe;
  }

  assert.equal(found, [payload]);
  assert.is(decoder.pendingBytes, 0);
  assert.ok(grown < 4 * payload.length, `copied into ${grown} bytes`);
  assert.is(found[0]?.buffer.byteLength, payload.length, 'what is handed out keeps no more than itself');
});

test('a frame that is not complete after 5 s is a violation, however steadily it comes', async () => {
  const { clock, ends, write } = await createBench();
  await write(beginOf('{"kind":"propose","commitId":1,"state":"', 100_000));
  for (let second = 0; second < 4; second += 1) {
    await clock.advance(1_000);
    await write(Buffer.from('x'));
  }
  assert.equal(ends, []);
  await clock.advance(1_000);
  assert.equal(ends, ['channel_violation']);
});

test('a frame that ends in time ends its time', async () => {
  const { clock, ends, write, heard } = await createBench();
  const frame = encodeFrame(Buffer.from(JSON.stringify(health)));
  await write(frame.subarray(0, 20));
  await clock.advance(4_000);
  await write(frame.subarray(20));
  await clock.advance(60_000);

  assert.equal([ends, heard()], [[], 2]);
});

const credential = {
  kind: 'credential',
  name: 'openbao_ca',
  generation: 1,
  modifiedAtUnixMs: 0,
  bytes: 'x'.repeat(1_500_000),
} as const;

test('more than 1 MiB unread for 5 s: the plugin is stuck', async () => {
  const { clock, ends, channel } = await createBench(false);
  channel.send(credential);
  await clock.advance(4_000);
  assert.equal(ends, []);
  await clock.advance(1_000);
  assert.equal(ends, ['stuck']);
});

test('more than 1 MiB unread while it drains: stuck as well', async () => {
  const { clock, ends, channel } = await createBench(false);
  channel.setPhase('draining');
  channel.send(credential);
  await clock.advance(5_000);
  assert.equal(ends, ['stuck']);
});

test('too much at once is said once', async () => {
  const { clock, ends, channel } = await createBench(false);
  for (let count = 0; count < 40; count += 1) channel.send(credential);
  await clock.advance(60_000);
  assert.equal(ends, ['stuck']);
});

test('a plugin that reads, however much it is told, is not stuck', async () => {
  const { clock, ends, channel } = await createBench();
  for (let second = 0; second < 12; second += 1) {
    channel.send(credential);
    await clock.advance(1_000);
  }
  assert.equal(ends, []);
});

for (const phase of ['starting', 'task'] as const) {
  test(`a plugin that still starts (${phase}) reads nothing for a while, up to what it is sent at the start, twice`, async () => {
    const [stream] = duplexPair();
    const clock = createFakeClock();
    const ends: string[] = [];
    const told = { receive: () => {}, violated: () => ends.push('violated'), stuck: () => ends.push('stuck') };
    const channel = openSupervisorChannel(stream, told, clock, phase);
    for (let count = 0; count < 20; count += 1) channel.send(credential);
    await clock.advance(20_000);
    assert.equal(ends, []);
    for (let count = 0; count < 4; count += 1) channel.send(credential);
    assert.equal(ends, ['stuck']);
  });
}

for (const [what, message] of [
  ['a reason', { ...health, reasons: ['canary'] }],
  ['a class of error', { ...health, errorClasses: ['canary'] }],
  ['a cause', { ...health, cause: { class: 'canary', sinceUnixMs: 0 } }],
  ['a detail', { ...health, cause: { class: 'auth_rejected', detail: 'canary', sinceUnixMs: 0 } }],
  ['a finding', { ...health, cause: { class: 'profile_invalid', finding: 'canary', sinceUnixMs: 0 } }],
  ['a warning', { ...health, warnings: [{ warning: 'canary' }] }],
  ['a warning about a credential', { ...health, warnings: [{ warning: 'credential_refused', name: 'canary' }] }],
  ['a hash', { ...health, keyIdHash: 'canary' }],
  [
    'a refused credential',
    { kind: 'credential_result', name: 'jwt', generation: 1, result: 'refused', class: 'canary' },
  ],
  ['the name of a credential', { kind: 'credential_result', name: 'canary', generation: 1, result: 'in_use' }],
  ['why it gives up', { kind: 'giving_up', class: 'canary', canRelaunchHelp: false }],
  ['a report', { kind: 'report', metadata: 'fail', errorClass: 'canary' }],
  [
    'a reason for a terminal',
    { kind: 'report', metadata: 'pass', bootstrap: { isEligible: false, reason: '\u001b[2J' } },
  ],
] as const) {
  test(`${what} with a word of its own is refused`, () => {
    throwsClass(() => parsePluginMessage(Buffer.from(JSON.stringify(message))), 'message_invalid');
  });
}

test.run();
