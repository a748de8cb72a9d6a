// What systemd is told, in which order, and how often. And the quiet period of watched directories.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createQuietPeriod } from '../../../supervisor/custody/watch-directories.ts';
import { createNotifier } from '../../../supervisor/notify/notify.ts';
import { statusLine } from '../../../supervisor/notify/status-line.ts';
import { createFakeClock } from '../../support/fake-clock.ts';

function createBench(watchdogMs?: number) {
  const clock = createFakeClock();
  const said: string[] = [];
  const send = async (assignments: readonly string[]) => void said.push(assignments.join(' '));
  return { clock, said, notifier: createNotifier({ clock, send, watchdogMs }) };
}

test('a status is said at once, then at most once a second, always the newest', async () => {
  const { clock, said, notifier } = createBench();
  for (const line of ['a', 'b', 'c']) notifier.status(line);
  await clock.settle();
  assert.equal(said, ['STATUS=a']);
  await clock.advance(1_000);
  assert.equal(said, ['STATUS=a', 'STATUS=c']);
  await clock.advance(5_000);
  notifier.status('c');
  await clock.settle();
  assert.equal(said.length, 2, 'nothing new, nothing said');
});

test('the watchdog is fed three times an interval, from the first moment', async () => {
  const { clock, said } = createBench(30_000);
  await clock.advance(30_000);
  assert.is(said.filter((line) => line === 'WATCHDOG=1').length, 4);
});

test('messages keep their order and never overlap', async () => {
  const clock = createFakeClock();
  const said: string[] = [];
  let running = 0;
  const send = async (assignments: readonly string[]) => {
    running += 1;
    assert.is(running, 1);
    await new Promise((resolve) => setImmediate(resolve));
    said.push(assignments.join(' '));
    running -= 1;
  };
  const notifier = createNotifier({ clock, send, watchdogMs: undefined });
  notifier.ready();
  notifier.reloading(5);
  notifier.stopping();
  await notifier.idle();
  assert.equal(said, ['READY=1', 'RELOADING=1 MONOTONIC_USEC=5', 'STOPPING=1']);
});

test('without a listening systemd nothing is said', async () => {
  const notifier = createNotifier({ clock: createFakeClock(), send: undefined, watchdogMs: undefined });
  notifier.ready();
  await notifier.idle();
});

const health = {
  kind: 'health',
  healthz: 'ok',
  reasons: [],
  errorClasses: [],
  rotationState: 'active',
  keyIdHash: 'f9uX3mQkz0aBcdef',
  transitKeyVersion: 12,
} as const;
const facts = {
  health: { ...health, reasons: [], errorClasses: [] },
  pluginPid: 812,
  refusedBy: undefined,
  nextTryMs: undefined,
  relaunches: 0,
  version: '1.4.0',
  isSameUser: false,
};

test('the status line tells the truth in one line', () => {
  assert.is(statusLine(facts), 'healthy; key f9uX3mQkz0aB v12; plugin 812; relaunches 0; 1.4.0');
  const sick = {
    ...facts.health,
    healthz: 'unhealthy' as const,
    reasons: ['metadata_read_failed'],
    errorClasses: ['sealed'],
  };
  assert.is(
    statusLine({ ...facts, health: sick, relaunches: 3 }),
    'unhealthy: metadata_read_failed (sealed); key f9uX3mQkz0aB v12; plugin 812; relaunches 3; 1.4.0',
  );
  const blocked = {
    ...facts,
    health: undefined,
    pluginPid: undefined,
    refusedBy: 'gate.runtime_directory',
    nextTryMs: 9_200,
    relaunches: 4,
  };
  assert.is(statusLine(blocked), 'no plugin: gate.runtime_directory refused, next try in 10 s; relaunches 4; 1.4.0');
  assert.match(statusLine({ ...facts, isSameUser: true }), /privilege same-user/u);
});

test('a burst of events is one look, after a quiet quarter of a second, at the latest after two', async () => {
  const clock = createFakeClock();
  const looks: number[] = [];
  const event = createQuietPeriod(clock, () => looks.push(clock.nowMs()));
  event();
  await clock.advance(100);
  event();
  await clock.advance(1_000);
  assert.equal(looks, [350]);
  for (let index = 0; index < 40; index += 1) {
    event();
    await clock.advance(100);
  }
  assert.ok(looks.length >= 2 && (looks[1] ?? 0) <= 1_100 + 2_000, looks.join(','));
});

test.run();
