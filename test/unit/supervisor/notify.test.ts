// What systemd is told, in which order, and how often. And the quiet period of watched directories.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createQuietPeriod } from '../../../supervisor/custody/watch-directories.ts';
import { sayLastWord } from '../../../supervisor/notify/last-word.ts';
import { createNotifier } from '../../../supervisor/notify/notify.ts';
import { refusalLine, statusLine } from '../../../supervisor/notify/status-line.ts';
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

test('the last word is said at once, behind what was said before, and nothing after it', async () => {
  const { clock, said, notifier } = createBench();
  notifier.status('one');
  notifier.status('two');
  await notifier.lastWord('refused');
  assert.equal(said, ['STATUS=one', 'STATUS=refused']);
  notifier.status('three');
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
