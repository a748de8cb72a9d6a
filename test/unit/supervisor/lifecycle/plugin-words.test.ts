// What a plugin that has turned hostile says about credentials must not fill the supervisor's memory or end it.

import { duplexPair } from 'node:stream';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { encodeFrame } from '../../../../shared/channel/frame.ts';
import { encodeMessage, type PluginMessage } from '../../../../shared/channel/messages.ts';
import { encodeState } from '../../../../shared/registry/state.ts';
import { StateStore } from '../../../../supervisor/custody/state-store.ts';
import type { ChildEnd } from '../../../../supervisor/launch/child.ts';
import { emptyCounters } from '../../../../supervisor/launch/counters.ts';
import type { Custody } from '../../../../supervisor/launch/running.ts';
import { createLoop } from '../../../../supervisor/lifecycle/loop.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';
import { confinement } from '../../../support/life-bench.ts';
import { createMemoryFiles } from '../../../support/memory-files.ts';
import { firstState, identity } from '../../../support/vectors.ts';

async function bench() {
  const clock = createFakeClock();
  const store = new StateStore({
    files: createMemoryFiles(),
    name: 'key-registry.json',
    identity,
    requireCheckpoint: false,
    activationDelayMs: 120_000,
    nowMs: clock.nowMs,
    nowUnix: () => 1_750_000_300,
    randomHex: () => '00000000',
  });
  await store.load();
  await store.commit(encodeState(firstState()));
  const log: string[] = [];
  const plugins: {
    ours: ReturnType<typeof duplexPair>[0];
    say: (message: PluginMessage) => void;
    isKilled: boolean;
  }[] = [];
  const custody: Custody = {
    store,
    credentials: { look: () => [{ kind: 'credential', name: 'jwt', generation: 1, modifiedAtUnixMs: 0, bytes: '' }] },
    loginCredentials: ['jwt'],
    isStateDirectoryGone: () => false,
    privilege: { kind: 'same-user' },
    launch: () => {
      const [ours, theirs] = duplexPair();
      const ended = Promise.withResolvers<ChildEnd>();
      const one = {
        ours,
        say: (message: PluginMessage) => void theirs.write(encodeFrame(encodeMessage(message))),
        isKilled: false,
      };
      theirs.on('error', () => {});
      plugins.push(one);
      const kill = () => {
        one.isKilled = true;
        ended.resolve({ reason: 'signal', exitCode: undefined, signal: 'SIGKILL' });
      };
      // Nothing reads `theirs`: the plugin does not care for what it is told.
      return { pid: plugins.length, channel: ours, kill, ended: ended.promise };
    },
    start: {
      kind: 'start',
      task: 'serve',
      build: { version: '1', commit: '', buildDate: '', dirty: '' },
      config: {},
      overrides: {},
      identityFingerprint: '',
    },
  };
  const counters = emptyCounters(0);
  const loop = createLoop({
    clock,
    random: () => 0.5,
    log: (_, message) => void log.push(message),
    gate: async () => custody,
    prepare: async () => Promise.reject(new Error('none')),
    removeName: () => {},
    counters,
    healthChanged: () => {},
    startRefused: () => {},
    stateDirectoryGone: () => {},
    portsUnopened: () => {},
    becameIncumbent: () => {},
    factsChanged: () => {},
  });
  await clock.settle();
  const incumbent = plugins[0];
  if (incumbent === undefined) throw new Error('no plugin');
  incumbent.say({ kind: 'ready', confinement, isPermissionModelOn: true });
  await clock.settle();
  return { clock, log, plugins, counters, loop, incumbent };
}

/** 64 characters that JSON writes as six bytes each. */
const word = (n: number) =>
  [...`${n}`.padStart(8, '0')]
    .map((digit) => String.fromCharCode(Number(digit)))
    .join('')
    .padEnd(64, '\u0001');
const refused = (errorClass: string): PluginMessage => ({
  kind: 'credential_result',
  name: 'jwt',
  generation: 1,
  result: 'refused',
  class: errorClass,
});

test('a word of its own ends a plugin, and nothing is counted under it', async () => {
  const { clock, counters, incumbent, log } = await bench();
  incumbent.say(refused(word(1)));
  await clock.settle();

  assert.ok(incumbent.isKilled);
  assert.ok(log.includes('plugin.violation'));
  assert.equal(counters.credentialRefusals, {});
});

test('45 allowed frames a second for 20 s leave little in the supervisor: 30 are told and counted', async () => {
  const { clock, counters, incumbent, log } = await bench();
  for (let second = 1; second <= 20; second += 1) {
    for (let count = 0; count < 45; count += 1) incumbent.say(refused('auth_rejected'));
    // Its pings can be answered unread: their numbers are 1, 2, 3.
    incumbent.say({ kind: 'pong', id: Math.floor((second - 1) / 2), lagMs: 0 });
    await clock.advance(1_000);
  }

  assert.equal(counters.credentialRefusals, { 'jwt auth_rejected': 30 });
  assert.is(log.filter((line) => line.includes('credential.refused')).length, 30);
  assert.ok(incumbent.ours.writableLength < 1024 * 1024);
});

test('a minute later more is told; nothing is of a generation that the plugin was never sent', async () => {
  const { clock, counters, incumbent, log } = await bench();
  const forged = { ...refused('auth_rejected'), generation: 2 } as PluginMessage;
  for (let count = 0; count < 40; count += 1) incumbent.say(forged);
  await clock.settle();
  assert.equal(counters.credentialRefusals, {});
  assert.not.ok(log.some((line) => line.includes('credential.refused')));
  for (let count = 0; count < 2; count += 1) {
    await clock.advance(1_000);
    for (let times = 0; times < 20; times += 1) incumbent.say(refused('auth_rejected'));
  }
  await clock.settle();
  assert.equal(counters.credentialRefusals, { 'jwt auth_rejected': 30 });
  for (let id = 1; id <= 31; id += 1) {
    incumbent.say({ kind: 'pong', id, lagMs: 0 });
    await clock.advance(2_000);
  }
  incumbent.say(refused('auth_rejected'));
  await clock.settle();
  assert.equal(counters.credentialRefusals, { 'jwt auth_rejected': 31 });
});

test('a generation comes into use once; what was dropped is said once a minute; another plugin is heard again', async () => {
  const { clock, incumbent, log, loop, plugins } = await bench();
  const inUse = { kind: 'credential_result', name: 'jwt', generation: 1, result: 'in_use' } as PluginMessage;
  for (let count = 0; count < 20; count += 1) incumbent.say(inUse);
  await clock.settle();
  const told = (event: string) => log.filter((line) => line === event).length;
  assert.equal([told('credential.in_use'), told('plugin.output_dropped')], [1, 1]);
  for (let count = 0; count < 29; count += 1) incumbent.say(refused('auth_rejected'));
  await clock.advance(1_000);
  for (let count = 0; count < 29; count += 1) incumbent.say(refused('auth_rejected'));
  await clock.settle();
  assert.equal([told('credential.refused'), told('plugin.output_dropped')], [30, 1]);
  loop.event({ kind: 'exited', reason: 'signal' });
  await clock.advance(1_000);
  const successor = plugins[1];
  successor?.say({ kind: 'ready', confinement, isPermissionModelOn: true });
  await clock.settle();
  successor?.say(refused('auth_rejected'));
  await clock.settle();
  assert.is(told('credential.refused'), 31);
});

test('a plugin that cannot be greeted is ended and launched again; the life machine never stands still', async () => {
  const { clock, log, plugins, counters, loop } = await bench();
  // Larger than a frame: the greeting of the next plugin throws.
  for (let count = 0; count < 23_000; count += 1) counters.credentialRefusals[`jwt ${word(count)}`] = 1;
  loop.event({ kind: 'exited', reason: 'exit' });
  await clock.advance(600_000);

  assert.ok(plugins.length > 10, `${plugins.length} launches in ten minutes`);
  assert.ok(plugins.filter(({ isKilled }) => !isKilled).length <= 1, 'nobody is left unwatched');
  assert.ok(log.some((line) => line.includes('plugin.not_greeted')));
});

test.run();
