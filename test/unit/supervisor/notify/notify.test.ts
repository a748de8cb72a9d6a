// What systemd is told, in which order, and how often. And the quiet period of watched directories.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { HealthMessage } from '../../../../shared/channel/messages.ts';
import { createQuietPeriod } from '../../../../supervisor/custody/watch-directories.ts';
import { sayLastWord } from '../../../../supervisor/notify/last-word.ts';
import { createNotifier } from '../../../../supervisor/notify/notify.ts';
import { refusalLine, type StatusFacts, statusLine } from '../../../../supervisor/notify/status-line.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';

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

test('the last word is said at once, behind what was said before, and nothing after it', async () => {
  const { clock, said, notifier } = createBench();
  notifier.status(() => 'one');
  notifier.status(() => 'two');
  await notifier.lastWord('refused');
  assert.equal(said, ['STATUS=one', 'STATUS=refused']);
  notifier.status(() => 'three');
  await clock.advance(10_000);
  assert.equal(said.length, 2);
});

test('the last word has been read before the process may end', async () => {
  const clock = createFakeClock();
  let hasRead = false;
  const send = async () => {
    await new Promise((resolve) => setImmediate(resolve));
    hasRead = true;
  };
  await createNotifier({ clock, send, watchdogMs: undefined }).lastWord('refused');
  assert.ok(hasRead);
});

for (const [length, expected] of [
  [2_047, 2_047],
  [2_048, 2_048],
  [2_049, 2_048],
  [9_000, 2_048],
] as const) {
  test(`a status line of ${length} characters is said with ${expected}, from its beginning`, async () => {
    const { said, notifier } = createBench();
    await notifier.lastWord(`cause ${'x'.repeat(length - 6)}`);
    const line = said[0] ?? '';
    assert.is(line.length, 'STATUS='.length + expected);
    assert.ok(line.startsWith('STATUS=cause x'));
    assert.is(line.endsWith('...'), length > expected);
  });
}

test('a line that is not plain text is still one line', async () => {
  const { said, notifier } = createBench();
  await notifier.lastWord('one\ntwo\u00e4\u0000READY=1');
  assert.equal(said, ['STATUS=one two  READY=1']);
});

function createLastWordBench(isShown: boolean) {
  const clock = createFakeClock();
  const stopAsked = Promise.withResolvers<void>();
  let isOver = false;
  const say = (isRefused: boolean) => {
    const deps = {
      clock,
      notifier: { lastWord: async () => {} },
      isShown,
      stopAsked: stopAsked.promise,
    };
    void sayLastWord(deps, 'refused', isRefused).then(() => {
      isOver = true;
    });
  };
  return { clock, say, stop: stopAsked.resolve, isOver: () => isOver };
}

for (const [what, isShown, isRefused] of [
  ['whose refused start nobody shows', false, true],
  ['that makes room for a new start', true, false],
] as const) {
  test(`a process ${what} ends with its last word`, async () => {
    const { clock, say, isOver } = createLastWordBench(isShown);
    say(isRefused);
    await clock.settle();
    assert.ok(isOver());
  });
}

test('a refused start that systemd shows stays for five seconds, or until it is stopped', async () => {
  const first = createLastWordBench(true);
  first.say(true);
  await first.clock.advance(4_999);
  assert.not.ok(first.isOver());
  await first.clock.advance(1);
  assert.ok(first.isOver());
  const second = createLastWordBench(true);
  second.say(true);
  await second.clock.advance(100);
  second.stop();
  await second.clock.settle();
  assert.ok(second.isOver());
  assert.is(second.clock.timers(), 0);
});

test('a refusal puts the cause first', () => {
  assert.is(
    refusalLine({ check: 'gate.credentials', reason: 'ca_invalid', hint: 'openbao.caCertFile: is empty' }),
    'start refused: gate.credentials (ca_invalid): openbao.caCertFile: is empty',
  );
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
    called(times, {
      warnings: [{ warning: 'credential_refused', name: 'jwt', class: 'auth_failed', detail: 'audience' }],
    }),
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

test('ages are told in minutes below two hours, and a class that two probes share is told once', () => {
  const sick = { ...facts.health, healthz: 'unhealthy' as const, reasons: ['deep_probe_failed'] };
  const cause = { class: 'permission_denied', sinceUnixMs: nowUnixMs - 7_199_000 };
  const errorClasses = ['sealed', 'sealed'];

  assert.match(lineOf({ health: { ...sick, cause, errorClasses } }), /\(permission_denied, sealed\) for 119 min;/u);
});

test('however often a line is set, one timer says it again', async () => {
  const { clock, notifier } = createBench();
  const before = clock.timers();
  for (let count = 0; count < 5; count += 1) {
    notifier.status(() => 'healthy');
    await clock.advance(2_000);
  }

  assert.is(clock.timers(), before + 1);
});

test.run();
