// What systemd is told, in which order, and how often. And the quiet period of watched directories.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { HealthMessage } from '../../../shared/channel/messages.ts';
import { createQuietPeriod } from '../../../supervisor/custody/watch-directories.ts';
import { createNotifier } from '../../../supervisor/notify/notify.ts';
import { type StatusFacts, statusLine } from '../../../supervisor/notify/status-line.ts';
import { createFakeClock } from '../../support/fake-clock.ts';

function createBench(watchdogMs?: number) {
  const clock = createFakeClock();
  const said: string[] = [];
  const send = async (assignments: readonly string[]) => void said.push(assignments.join(' '));
  return { clock, said, notifier: createNotifier({ clock, send, watchdogMs }) };
}

test('a status is said at once, then at most once a second, always the newest', async () => {
  const { clock, said, notifier } = createBench();
  for (const line of ['a', 'b', 'c']) notifier.status(() => line);
  await clock.settle();
  assert.equal(said, ['STATUS=a']);
  await clock.advance(1_000);
  assert.equal(said, ['STATUS=a', 'STATUS=c']);
  await clock.advance(5_000);
  notifier.status(() => 'c');
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

const nowUnixMs = 1_750_000_000_000;
const lineOf = (change: Partial<StatusFacts> = {}) => statusLine({ ...facts, ...change }, nowUnixMs);

test('the status line tells the truth in one line', () => {
  assert.is(lineOf(), 'healthy; key f9uX3mQkz0aB v12; plugin 812; relaunches 0; 1.4.0');
  const blocked = {
    health: undefined,
    pluginPid: undefined,
    refusedBy: 'gate.runtime_directory',
    nextTryMs: 9_200,
    relaunches: 4,
  };
  assert.is(lineOf(blocked), 'no plugin: gate.runtime_directory refused, next try in 10 s; relaunches 4; 1.4.0');
  assert.match(lineOf({ isSameUser: true }), /privilege same-user/u);
});

test('the status line names the cause, its finding or detail, and for how long it has lasted', () => {
  const sick = { ...facts.health, healthz: 'unhealthy' as const, reasons: ['deep_probe_failed'] };
  const cause = { class: 'permission_denied', httpStatus: 403, sinceUnixMs: nowUnixMs - 95_400 };
  const line = (change: Partial<HealthMessage>) => lineOf({ health: { ...sick, ...change } }).split('; key')[0];

  assert.is(
    line({ cause: { ...cause, finding: 'missing_decrypt' }, errorClasses: ['permission_denied'] }),
    'unhealthy: deep_probe_failed (permission_denied: missing_decrypt) for 95 s',
  );
  assert.is(
    line({ cause, errorClasses: ['connection_failed'] }),
    'unhealthy: deep_probe_failed (permission_denied, connection_failed) for 95 s',
  );
  assert.is(
    line({ healthz: 'ok', cause: { ...cause, class: 'sealed', sinceUnixMs: nowUnixMs - 130_000 } }),
    'healthy, but deep_probe_failed (sealed) for 2 min',
  );
  assert.match(line({ cause: { ...cause, sinceUnixMs: nowUnixMs + 5_000 } }) ?? '', / for 0 s$/u, 'a clock went back');
});

test('the status line names warnings, and who calls us', () => {
  const called = (lastCalls: NonNullable<HealthMessage['lastCalls']>, change: Partial<HealthMessage> = {}) =>
    lineOf({ health: { ...facts.health, ...change, lastCalls } });
  const times = { statusUnixMs: nowUnixMs - 12_000, encryptUnixMs: nowUnixMs - 190_000 };

  assert.is(
    called(times, { warnings: ['credential_refused jwt (auth_failed: audience)'] }),
    'healthy; warning: credential_refused jwt (auth_failed: audience); last Status call 12 s ago, Encrypt 3 min ago; ' +
      'key f9uX3mQkz0aB v12; plugin 812; relaunches 0; 1.4.0',
  );
  assert.match(called({}), /^healthy; no Status call yet; key/u);
  assert.match(
    called({ decryptUnixMs: nowUnixMs - 7_300_000 }),
    /^healthy; no Status call yet, Decrypt 2 h ago; key/u,
    'a replaced plugin starts with none',
  );
});

test('a line that tells an age is said again every 10 s, and only while it changes', async () => {
  const { clock, said, notifier } = createBench();
  notifier.status(() => `unhealthy for ${Math.min(20, Math.floor(clock.nowMs() / 1000))} s`);
  await clock.advance(60_000);

  assert.equal(said, ['STATUS=unhealthy for 0 s', 'STATUS=unhealthy for 10 s', 'STATUS=unhealthy for 20 s']);
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
