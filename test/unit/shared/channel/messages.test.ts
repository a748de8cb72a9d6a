// Frames, messages, and what the supervisor takes from a plugin: nothing on trust.

import { duplexPair } from 'node:stream';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { encodeFrame, FrameDecoder, maxFrameBytes } from '../../../../shared/channel/frame.ts';
import {
  encodeMessage,
  type PluginMessage,
  parsePluginMessage,
  parseSupervisorMessage,
} from '../../../../shared/channel/messages.ts';
import { confinementProblem, parseProcStatus } from '../../../../shared/confinement/confinement.ts';
import { errorClasses } from '../../../../shared/errors/error.ts';
import { policies } from '../../../../shared/errors/policy.ts';
import { createLog, toTextLine } from '../../../../shared/log/logger.ts';
import { openSupervisorChannel } from '../../../../supervisor/channel/channel.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';
import { throwsClass } from '../../../support/throws.ts';

test('frames are handed out whole, in order, however the bytes come', () => {
  const bytes = Buffer.concat([encodeFrame(Buffer.from('one')), encodeFrame(Buffer.from('two'))]);
  for (const size of [1, 2, 3, 5, bytes.length]) {
    const decoder = new FrameDecoder();
    const out: string[] = [];
    for (let at = 0; at < bytes.length; at += size) {
      for (const payload of decoder.push(bytes.subarray(at, at + size))) out.push(payload.toString());
    }
    assert.equal(out, ['one', 'two']);
    assert.is(decoder.pendingBytes, 0);
  }
});

for (const [length, isFine] of [
  [0, false],
  [1, true],
  [maxFrameBytes, true],
  [maxFrameBytes + 1, false],
  [0xffffffff, false],
] as const) {
  test(`a header that announces ${length} bytes is ${isFine ? 'fine' : 'refused before memory is taken'}`, () => {
    const header = Buffer.alloc(4);
    header.writeUInt32BE(length);
    if (isFine) assert.equal(new FrameDecoder().push(header), []);
    else throwsClass(() => new FrameDecoder().push(header), 'frame_malformed');
  });
}

const confinement = parseProcStatus(
  'Uid:\t5 5 5 5\nGid:\t6 6 6 6\nGroups:\t\nCapInh:\t0000\nCapPrm:\t0000\nCapEff:\t0000\nCapBnd:\t0000\nCapAmb:\t0000\nNoNewPrivs:\t1\nSeccomp:\t2\n',
);
const ready: PluginMessage = { kind: 'ready', confinement, isPermissionModelOn: true };
const health: PluginMessage = { kind: 'health', healthz: 'ok', reasons: [], errorClasses: [], rotationState: 'active' };

test('a message is read back, both ways', () => {
  assert.equal(parsePluginMessage(encodeMessage(ready)), ready);
  const ping = { kind: 'ping', id: 1 } as const;
  assert.equal(parseSupervisorMessage(encodeMessage(ping)), ping);
});

for (const [what, value] of [
  ['an unknown kind', { kind: 'exec' }],
  ['an unknown member', { ...health, extra: 1 }],
  ['a missing member', { kind: 'pong', id: 1 }],
  ['a wrong type', { kind: 'pong', id: '1', lagMs: 0 }],
  ['a negative count', { kind: 'drained', cut: -1 }],
  ['a supervisor message', { kind: 'ping', id: 1 }],
  ['too many reasons', { ...health, reasons: Array.from({ length: 17 }, () => 'x') }],
  ['no object', []],
] as const) {
  test(`a plugin message with ${what} is refused`, () => {
    throwsClass(() => parsePluginMessage(Buffer.from(JSON.stringify(value))), 'message_invalid');
  });
}

test('bytes that are no JSON are refused', () => {
  throwsClass(() => parsePluginMessage(Buffer.from('{"kind"')), 'message_invalid');
});

function createBench() {
  const [stream, far] = duplexPair();
  far.resume();
  far.on('error', () => {});
  const clock = createFakeClock();
  const received: string[] = [];
  const violations: string[] = [];
  const channel = openSupervisorChannel(
    stream,
    {
      receive: ({ kind }) => received.push(kind),
      violated: (errorClass) => violations.push(errorClass),
      stuck: () => violations.push('stuck'),
    },
    clock,
  );
  const say = async (message: PluginMessage | Record<string, unknown>) => {
    if (far.writable) far.write(encodeFrame(Buffer.from(JSON.stringify(message))));
    await clock.settle();
  };
  return { clock, received, violations, channel, say };
}

for (const message of [health, { kind: 'propose', commitId: 1, state: '{}' }, { kind: 'drained', cut: 0 }]) {
  test(`${message.kind} before ready is a violation`, async () => {
    const { say, received, violations } = createBench();
    await say(message);

    assert.equal([received, violations], [[], ['channel_violation']]);
  });
}

test('a second ready, and giving up after ready, are violations', async () => {
  for (const message of [ready, { kind: 'giving_up', class: 'internal', canRelaunchHelp: false }]) {
    const { say, violations } = createBench();
    await say(ready);
    await say(message);
    assert.equal(violations, ['channel_violation']);
  }
});

test('a second proposal before the answer to the first is a violation; after it, it is not', async () => {
  const { say, violations, channel } = createBench();
  await say(ready);
  await say({ kind: 'propose', commitId: 1, state: '{}' });
  channel.send({ kind: 'committed', commitId: 1, outcome: 'saved', onDisk: 'attempted' });
  await say({ kind: 'propose', commitId: 2, state: '{}' });
  assert.equal(violations, []);
  await say({ kind: 'propose', commitId: 3, state: '{}' });
  assert.equal(violations, ['channel_violation']);
});

test('the 51st frame in a second is a violation, spread out it is not', async () => {
  const quick = createBench();
  await quick.say(ready);
  for (let index = 0; index < 49; index += 1) await quick.say(health);
  assert.equal(quick.violations, []);
  await quick.say(health);
  assert.equal(quick.violations, ['channel_violation']);
  const slow = createBench();
  await slow.say(ready);
  for (let index = 0; index < 100; index += 1) {
    await slow.clock.advance(25);
    await slow.say(health);
  }
  assert.equal(slow.violations, []);
});

test('after a violation the channel is deaf and the supervisor is told once', async () => {
  const { say, received, violations } = createBench();
  await say({ kind: 'exec' });
  await say(ready);

  assert.equal([received, violations], [[], ['message_invalid']]);
});

test('anything but zeros is a confinement problem with a user of its own', () => {
  const separate = { kind: 'separate', uid: 5, gid: 6 } as const;
  assert.is(confinementProblem(confinement, separate), undefined);
  for (const [change, problem] of [
    [{ noNewPrivs: 0 }, 'no_new_privs'],
    [{ effective: '00c0' }, 'effective'],
    [{ uids: [5, 0, 5, 5] }, 'uid'],
    [{ gids: [6, 6, 6, 0] }, 'gid'],
    [{ groups: [6] }, 'groups'],
    [{ inheritable: '1' }, 'inheritable'],
    [{ permitted: '1' }, 'permitted'],
    [{ bounding: '1' }, 'bounding'],
    [{ ambient: '1' }, 'ambient'],
  ] as const) {
    assert.is(confinementProblem({ ...confinement, ...(change as Partial<typeof confinement>) }, separate), problem);
  }
});

test('as the same user no_new_privs and an empty effective set are demanded', () => {
  const same = { kind: 'same-user' } as const;
  assert.is(confinementProblem({ ...confinement, bounding: 'ff', groups: [1] }, same), undefined);
  assert.is(confinementProblem({ ...confinement, effective: '1' }, same), 'effective');
  assert.is(confinementProblem(parseProcStatus(''), same), 'no_new_privs', 'what cannot be read is the worst case');
});

test('every class of error has a policy', () => {
  assert.equal(Object.keys(policies).sort(), [...errorClasses].sort());
});

test('the log writes what its allow-list names, in its order, and nothing else', () => {
  const lines: string[] = [];
  const log = createLog({ process: 'plugin', level: 'info', format: 'json' }, createFakeClock(), (line) =>
    lines.push(line),
  );
  log('info', 'kms.request', { reason: 'r', status: 'ok', secret: 'canary' } as never);
  log('debug', 'status.probe');
  assert.equal(Object.keys(JSON.parse(lines[0] ?? '')), ['level', 'ts', 'process', 'status', 'reason', 'message']);
  assert.is(lines.length, 1);
  assert.is(toTextLine(lines[0] ?? ''), '2025-06-15T15:06:40.000Z INFO  plugin     kms.request status=ok reason=r\n');
});

test('repeated warnings are cut at ten a second and the rest is counted', async () => {
  const lines: string[] = [];
  const clock = createFakeClock();
  const log = createLog({ process: 'plugin', level: 'info', format: 'json' }, clock, (line) => lines.push(line));
  for (let index = 0; index < 100; index += 1) log('warn', 'kms.request', { error_class: 'timeout' });
  assert.is(lines.length, 10);
  await clock.advance(1_000);
  log('warn', 'kms.request', { error_class: 'timeout' });
  assert.is(JSON.parse(lines[10] ?? '').suppressed, 90);
});

test.run();
