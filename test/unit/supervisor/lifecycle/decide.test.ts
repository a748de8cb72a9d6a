// The life of the plugin: every state with every event, and one test per promise.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { watchLiveness } from '../../../../supervisor/launch/liveness.ts';
import { nodeFlags, pluginCommand } from '../../../../supervisor/launch/plugin-command.ts';
import { decide } from '../../../../supervisor/lifecycle/decide.ts';
import { type Effect, type Event, firstState, policy, type State } from '../../../../supervisor/lifecycle/events.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';
import { events, states } from '../../../support/life-machine.ts';

const at = (kind: State['kind'], change: Partial<State> = {}) =>
  ({ ...states.find((state) => state.kind === kind && state.hasServed), ...change }) as State;
const step = (state: State, event: Event, nowMs = 0, random = 0.5) => decide(policy, state, event, nowMs, random);
const kinds = (effects: readonly Effect[]) => effects.map(({ kind }) => kind);

for (const state of states) {
  for (const event of events) {
    const name = 'reason' in event ? `${event.kind} (${event.reason})` : event.kind;
    test(`${state.kind} × ${name} has an answer, and a serving supervisor never ends because of its plugin`, () => {
      const { state: next, effects } = step(state, event);

      assert.type(next.kind, 'string');
      const isStop = event.kind === 'stop' || event.kind === 'depart' || state.kind === 'stopping';
      if (state.hasServed && !isStop) assert.not.ok(kinds(effects).includes('end'));
      if (kinds(effects).includes('launch')) assert.is(next.kind, 'starting');
      const hasTimer = kinds(effects).includes('arm');
      if (next.kind !== state.kind && ['waiting', 'blocked', 'starting'].includes(next.kind))
        assert.ok(hasTimer, 'no state waits without a timer');
    });
  }
}

for (const wanting of states.filter(({ hasServed }) => hasServed)) {
  if (!('isReloadWanted' in wanting)) continue;
  for (const event of events.filter(({ kind }) => kind !== 'stop' && kind !== 'depart')) {
    const name = 'reason' in event ? `${event.kind} (${event.reason})` : event.kind;
    // A replacement for a reload is itself one that somebody waits for.
    const state = wanting.kind === 'replacing' ? wanting : { ...wanting, isReloadWanted: true };
    test(`${state.kind} × ${name}: a reload that was asked for is remembered, begun, done, or refused in the log`, () => {
      const { state: next, effects } = step(state, event);
      const isRemembered = ('isReloadWanted' in next && next.isReloadWanted) || next.kind === 'replacing';
      const isTaken = effects.some(
        (effect) =>
          (effect.kind === 'run_gate' && effect.isReload) ||
          (effect.kind === 'prepare' && effect.cause === 'reload') ||
          (effect.kind === 'replacement_failed' && effect.cause === 'reload') ||
          effect.kind === 'hand_over',
      );
      assert.ok(isRemembered || isTaken);
    });
  }
}

test('a plugin that is not ready by its deadline is killed, never assumed ready', () => {
  const { state, effects } = step(at('starting'), { kind: 'timer' }, 20_000);

  assert.is(state.kind, 'waiting');
  assert.equal(kinds(effects), ['kill', 'count', 'arm']);
});

test('the first relaunch of a serving plugin comes at once, the next ones later and later', () => {
  const delays: number[] = [];
  let state = at('serving');
  for (let index = 0; index < 10; index += 1) {
    const { state: next, effects } = step(state, { kind: 'exited', reason: 'signal' });
    delays.push(effects.flatMap((effect) => (effect.kind === 'arm' ? [effect.afterMs] : []))[0] ?? -1);
    state = { ...next, kind: 'starting', isReloadWanted: false };
  }

  assert.equal(delays, [0, 100, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 30_000, 30_000]);
});

test('after something of ours went wrong the next start waits one step longer than after a plugin that ended', () => {
  const delays = [0, 1, 5, 20].map((failures) => {
    const { effects } = step(at('serving', { failures } as Partial<State>), { kind: 'effect_failed' });
    return effects.find((effect) => effect.kind === 'arm');
  });
  assert.equal(
    delays,
    [100, 500, 10_000, 30_000].map((afterMs) => ({ kind: 'arm', afterMs })),
  );
});

test('a minute of service forgets earlier failures', () => {
  const tired = at('serving', { failures: 7 });

  assert.is(step(tired, { kind: 'exited', reason: 'exit' }, 59_999).state.failures, 8);
  assert.is(step(tired, { kind: 'exited', reason: 'exit' }, 60_000).state.failures, 1);
});

test('the first gate that refuses ends the start with its exit code; later ones only wait', () => {
  assert.equal(step(firstState, { kind: 'gate_refused', exitCode: 3 }).effects.at(-1), { kind: 'end', exitCode: 3 });
  const later = step(at('gating'), { kind: 'gate_refused', exitCode: 3 });
  assert.is(later.state.kind, 'blocked');
});

test('a first plugin that gives up for good is a refused start with the exit code of its cause; a later one is not', () => {
  const first = at('starting', { hasServed: false });
  const giveUp = (canRelaunchHelp: boolean) => ({ kind: 'giving_up', canRelaunchHelp, exitCode: 3 }) as const;

  const { effects } = step(first, giveUp(false));
  assert.equal(kinds(effects), ['refuse_start', 'kill', 'remove_name', 'end']);
  assert.equal(effects.at(-1), { kind: 'end', exitCode: 3 });
  assert.is(step(first, giveUp(true)).state.kind, 'waiting');
  assert.is(step(at('starting'), giveUp(false)).state.kind, 'waiting');
});

for (const kind of ['gating', 'waiting', 'blocked', 'starting'] as const) {
  test(`a departure while ${kind} has nothing to drain: it ends at once with 6`, () => {
    assert.equal(step(at(kind), { kind: 'depart' }).effects, [
      { kind: 'kill' },
      { kind: 'remove_name' },
      { kind: 'end', exitCode: 6 },
    ]);
  });
}

for (const kind of ['serving', 'replacing'] as const) {
  test(`a departure while ${kind} drains the incumbent, then ends with 6`, () => {
    const { state, effects } = step(at(kind), { kind: 'depart' });
    assert.is(state.kind, 'stopping');
    assert.equal(kinds(effects).slice(-3), ['remove_name', 'drain', 'arm']);
    assert.is(kinds(effects).includes('kill_next'), kind === 'replacing');
    assert.equal(step(state, { kind: 'exited', reason: 'exit' }).effects.at(-1), { kind: 'end', exitCode: 6 });
    assert.equal(step(state, { kind: 'timer' }).effects.at(-1), { kind: 'end', exitCode: 6 });
  });
}

test('a stop during a departure is a stop: it ends with 0, and no sooner', () => {
  const departing = step(at('serving'), { kind: 'depart' }).state;
  const stopped = step(departing, { kind: 'stop' });
  assert.equal(stopped.effects, []);
  assert.equal(step(stopped.state, { kind: 'timer' }).effects.at(-1), { kind: 'end', exitCode: 0 });
});

test('a departure during a stop changes nothing', () => {
  const stopping = step(at('serving'), { kind: 'stop' }).state;
  assert.equal(step(stopping, { kind: 'depart' }), { state: stopping, effects: [] });
});

test('a first plugin that is not confined ends the start', () => {
  const { effects } = step(at('starting', { hasServed: false }), { kind: 'unfit', reason: 'confinement' });

  assert.equal(kinds(effects), ['kill', 'remove_name', 'end']);
});

test('a stop while serving removes the name, drains, and kills what is left at the end', () => {
  const { state, effects } = step(at('serving'), { kind: 'stop' });
  assert.equal(effects, [
    { kind: 'remove_name' },
    { kind: 'drain', deadlineMs: 15_000 },
    { kind: 'arm', afterMs: 17_000 },
  ]);
  assert.equal(kinds(step(state, { kind: 'timer' }).effects), ['kill', 'end']);
  assert.equal(step(state, { kind: 'stop' }).effects, [], 'a second signal does not restart the clock');
});

for (const kind of ['gating', 'waiting', 'blocked', 'starting'] as const) {
  test(`a stop while ${kind} kills what runs, removes the name and ends with 0`, () => {
    assert.equal(step(at(kind), { kind: 'stop' }).effects, [
      { kind: 'kill' },
      { kind: 'remove_name' },
      { kind: 'end', exitCode: 0 },
    ]);
  });
}

test('a reload starts a second plugin beside the first; the first drains only when the second is ready', () => {
  const replacing = step(at('serving'), { kind: 'prepared', cause: 'reload', readyMs: 60_000 });
  assert.equal(replacing.effects, [{ kind: 'launch_next' }, { kind: 'arm', afterMs: 60_000 }]);
  const done = step(replacing.state, { kind: 'next_ready' });
  assert.is(done.state.kind, 'serving');
  assert.equal(kinds(done.effects), ['disarm', 'hand_over', 'count']);
});

for (const event of [{ kind: 'next_failed' }, { kind: 'timer' }] as const) {
  test(`a second plugin that fails (${event.kind}) leaves the first as the incumbent`, () => {
    const { state, effects } = step(at('replacing'), event);
    assert.is(state.kind, 'serving');
    assert.equal(kinds(effects), ['disarm', 'kill_next', 'replacement_failed']);
  });
}

test('a reload while one is going on is remembered once and done afterwards', () => {
  const wanted = step(step(at('replacing'), { kind: 'reload' }).state, { kind: 'reload' }).state;
  assert.equal(kinds(step(wanted, { kind: 'next_ready' }).effects), ['disarm', 'hand_over', 'count', 'prepare']);
  const starting = step(at('starting'), { kind: 'reload' }).state;
  assert.equal(kinds(step(starting, { kind: 'ready' }).effects), ['disarm', 'prepare']);
});

test('a reload while the gate runs for another one is remembered once, whether that one passes or not', () => {
  const preparing = step(step(at('serving'), { kind: 'reload' }).state, { kind: 'reload' });
  assert.equal(preparing.effects, [], 'one preparation at a time');
  assert.equal(kinds(step(preparing.state, { kind: 'preparation_failed' }).effects), ['prepare']);
  const replacing = step(preparing.state, { kind: 'prepared', cause: 'reload', readyMs: 1 }).state;
  assert.equal(kinds(step(replacing, { kind: 'next_failed' }).effects).at(-1), 'prepare');
});

test('a port that is bound while a replacement for it is prepared, or for a lost name, asks for no second one', () => {
  for (const [kind, cause] of [
    ['port_bound', 'port_bound'],
    ['name_lost', 'socket_lost'],
  ] as const) {
    const { state, effects } = step(at('serving'), { kind });
    assert.equal(effects, [{ kind: 'prepare', cause }]);
    for (const again of [{ kind: 'port_bound' }, { kind: 'name_lost' }] as const) {
      assert.equal(step(state, again), { state, effects: [] }, `${again.kind} while ${kind}`);
    }
    assert.equal(step(state, { kind: 'reload' }).effects, []);
  }
});

test('a reload that was remembered is one preparation: another one that comes while it goes on begins no second', () => {
  const wanted = step(at('replacing'), { kind: 'reload' }).state;
  const preparing = step(wanted, { kind: 'next_ready' }).state;
  const asked = step(preparing, { kind: 'reload' });
  assert.equal(asked.effects, []);
  assert.equal(kinds(step(asked.state, { kind: 'preparation_failed' }).effects), ['prepare']);
});

for (const kind of ['waiting', 'blocked'] as const) {
  test(`the gate before a relaunch while ${kind} is no first one, and reads no configuration`, () => {
    assert.equal(step(at(kind), { kind: 'timer' }).effects, [
      { kind: 'disarm' },
      { kind: 'run_gate', isFirst: false, isReload: false },
    ]);
  });
}

for (const kind of ['waiting', 'blocked'] as const) {
  test(`a reload while ${kind} reads the configuration again and runs the gate at once`, () => {
    const { state, effects } = step(at(kind), { kind: 'reload' });
    assert.is(state.kind, 'gating');
    assert.equal(effects, [{ kind: 'disarm' }, { kind: 'run_gate', isFirst: false, isReload: true }]);
  });
}

test('a reload while the gate runs before a relaunch is done after it, also when the gate refuses', () => {
  const wanted = step(at('gating'), { kind: 'reload' }).state;
  const refused = step(wanted, { kind: 'gate_refused', exitCode: 5 });
  assert.equal(refused.effects.at(-1), { kind: 'run_gate', isFirst: false, isReload: true });
  const passed = step(wanted, { kind: 'gate_passed' }).state;
  assert.is(kinds(step(passed, { kind: 'ready' }).effects).at(-1), 'prepare');
});

for (const kind of ['waiting', 'blocked', 'gating', 'starting', 'stopping', 'ended'] as const) {
  test(`what was prepared for a plugin that is gone is dropped while ${kind}`, () => {
    const { effects } = step(at(kind), { kind: 'prepared', cause: 'reload', readyMs: 1 });
    assert.is(kinds(effects)[0], 'drop_prepared');
    assert.not.ok(kinds(effects).includes('launch_next'));
  });
}

test('a lost name is repaired by a replacement while serving, and by the gate in every other state', () => {
  const { effects } = step(at('serving'), { kind: 'name_lost' });
  assert.equal(effects, [{ kind: 'prepare', cause: 'socket_lost' }]);
  const replacing = step(at('serving'), { kind: 'prepared', cause: 'socket_lost', readyMs: 1 }).state;
  const done = step(replacing, { kind: 'next_ready' });
  assert.equal(done.effects.at(-1), { kind: 'count', reason: 'socket_lost' });
  for (const state of states.filter((one) => one.kind !== 'serving')) {
    assert.equal(step(state, { kind: 'name_lost' }), { state, effects: [] }, state.kind);
  }
});

test('a first plugin that ends while it is being replaced takes the second along, and service starts anew', () => {
  const { state, effects } = step(at('replacing'), { kind: 'exited', reason: 'signal' });
  assert.is(state.kind, 'waiting');
  assert.equal(kinds(effects), ['kill_next', 'kill', 'count', 'arm']);
});

test('a stop while replacing kills the second and drains the first', () => {
  const { state, effects } = step(at('replacing'), { kind: 'stop' });
  assert.is(state.kind, 'stopping');
  assert.equal(kinds(effects), ['kill_next', 'remove_name', 'drain', 'arm']);
});

test('a plugin that leaves a ping unanswered for 10 s hangs; time in which we were late does not count', async () => {
  const clock = createFakeClock();
  let isHung = false;
  const pings: number[] = [];
  const liveness = watchLiveness(
    clock,
    (id) => pings.push(id),
    () => {
      isHung = true;
    },
  );
  await clock.advance(8_000);
  liveness.pong(pings.at(-1) ?? 0);
  await clock.advance(10_000);
  assert.not.ok(isHung);
  await clock.advance(2_000);
  assert.ok(isHung);
});

test('the drop names every flag; the runtime starts with its permission model on', () => {
  const helpers = { prlimit: '/usr/bin/prlimit', setpriv: '/usr/bin/setpriv' };

  assert.equal(
    pluginCommand(helpers, { kind: 'separate', uid: 991, gid: 992 }, ['node']).join(' '),
    '/usr/bin/prlimit --core=0:0 /usr/bin/setpriv --reuid=991 --regid=992 --clear-groups --no-new-privs --inh-caps=-all --ambient-caps=-all --bounding-set=-all --pdeathsig=KILL node',
  );
  assert.equal(
    pluginCommand(helpers, { kind: 'same-user' }, ['node']).join(' '),
    '/usr/bin/prlimit --core=0:0 /usr/bin/setpriv --no-new-privs --inh-caps=-all --ambient-caps=-all --pdeathsig=KILL node',
  );
  assert.equal(nodeFlags('/x/plugin.mjs', 24), [
    '--permission',
    '--allow-fs-read=/x/plugin.mjs',
    '--allow-fs-read=/proc/self/status',
    '--disable-sigusr1',
    '--max-semi-space-size=4',
    '--max-old-space-size=64',
  ]);
  for (const major of [25, 26]) assert.ok(nodeFlags('/x/plugin.mjs', major).includes('--allow-net'), `${major}`);
});

test('a replacement that becomes the incumbent begins without failures; a preparation that failed does not begin a new minute', () => {
  assert.is(step(at('replacing', { failures: 3 }), { kind: 'next_ready' }).state.failures, 0);
  const { state } = step(
    at('serving', { sinceMs: 5, isPreparing: true } as Partial<State>),
    { kind: 'preparation_failed' },
    100,
  );
  assert.is(state.kind === 'serving' && state.sinceMs, 5);
});

test('a repair that was prepared for a plugin that is gone is dropped, and brings no relaunch forward', () => {
  for (const kind of ['waiting', 'blocked'] as const) {
    const before = at(kind);
    const { state, effects } = step(before, { kind: 'prepared', cause: 'socket_lost', readyMs: 1 });
    assert.is(state, before);
    assert.equal(kinds(effects), ['drop_prepared']);
  }
});

test.run();
