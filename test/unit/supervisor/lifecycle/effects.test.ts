// The life machine never stands still: whatever it is to do may throw, in every state, and afterwards a timer runs, a plugin serves,
// or the process ends.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { decide } from '../../../../supervisor/lifecycle/decide.ts';
import { type Effect, policy, type State } from '../../../../supervisor/lifecycle/events.ts';
import { createBench, healthy, ready } from '../../../support/life-bench.ts';
import { events, states } from '../../../support/life-machine.ts';

const has = (effects: readonly Effect[], kind: Effect['kind']) => effects.some((effect) => effect.kind === kind);

/** What is left to be done after something threw on the way to this state. */
function isMoving(state: State, failed: Effect): boolean {
  const after = decide(policy, state, { kind: 'effect_failed' }, 0, 0.5);
  if (after.state.kind === 'waiting') return has(after.effects, 'arm') && has(after.effects, 'kill');
  if (after.state.kind !== 'ended') return false;
  // The end itself is said before anything in it can throw.
  return has(after.effects, 'end') || state.kind === 'ended' || failed.kind === 'end';
}

for (const state of states) {
  test(`from ${state.kind}: every effect of every event may throw`, () => {
    let count = 0;
    for (const event of events) {
      const step = decide(policy, state, event, 0, 0.5);
      for (const effect of step.effects) {
        count += 1;
        assert.ok(isMoving(step.state, effect), `${event.kind}: ${effect.kind}`);
      }
    }
    assert.ok(count > 0 || state.kind === 'ended');
  });
}

type Bench = Awaited<ReturnType<typeof createBench>>;

/** How each effect comes about. */
const ways: Readonly<Record<Effect['kind'], (bench: Bench) => Promise<unknown>>> = {
  run_gate: async ({ world, loop, clock }) => {
    world.refuse = true;
    loop.event({ kind: 'exited', reason: 'exit' });
    await clock.advance(1);
    world.refuse = false;
  },
  launch: async ({ plugin }) => plugin(0).end(),
  kill: async ({ loop }) => loop.event({ kind: 'unfit', reason: 'hung' }),
  drain: async ({ loop }) => loop.event({ kind: 'stop' }),
  remove_name: async ({ loop }) => loop.event({ kind: 'stop' }),
  arm: async ({ plugin }) => plugin(0).end(),
  disarm: async ({ reload }) => {
    (await reload()).say(ready);
  },
  count: async ({ plugin }) => plugin(0).end(),
  prepare: async ({ world, reload }) => {
    world.refuse = true;
    await reload();
    world.refuse = false;
  },
  drop_prepared: async ({ world, loop, plugin, clock }) => {
    const preparing = Promise.withResolvers<void>();
    world.preparing = preparing.promise;
    loop.event({ kind: 'reload' });
    plugin(0).end();
    await clock.settle();
    preparing.resolve();
  },
  launch_next: ({ reload }) => reload(),
  kill_next: async ({ reload, clock }) => {
    await reload();
    await clock.advance(20_000);
  },
  hand_over: async ({ reload }) => {
    (await reload()).say(ready);
  },
  replacement_failed: async ({ reload }) => (await reload()).end(),
  refuse_start: async ({ plugin }) => plugin(0).say({ kind: 'giving_up', class: 'ca_invalid', canRelaunchHelp: false }),
  end: async ({ loop }) => loop.event({ kind: 'stop' }),
};

const endings: readonly Effect['kind'][] = ['drain', 'remove_name', 'refuse_start', 'end'];

for (const [kind, comeAbout] of Object.entries(ways) as [Effect['kind'], (bench: Bench) => Promise<unknown>][]) {
  const isEnding = endings.includes(kind);
  test(`${kind} throws: ${isEnding ? 'the process ends' : 'a plugin serves again'}`, async () => {
    const bench = await createBench();
    const { clock, plugins, plugin, loop, world, faults } = bench;
    let exitCode: number | undefined;
    void loop.ended.then((code) => {
      exitCode = code;
    });
    if (kind !== 'refuse_start') await bench.inService();
    faults.add(kind);
    await comeAbout(bench);
    await clock.settle();
    if (kind === 'end' || kind === 'remove_name') plugin(0).end();
    // Each new plugin is well, and one that it stands beside answers its pings.
    for (let second = 0; second < 90; second += 1) {
      const newest = plugins.at(-1);
      const isNew = newest !== undefined && !newest.isKilled && !greeted.has(newest);
      if (isNew && newest !== plugin(0)) {
        greeted.add(newest);
        newest.say(ready, healthy);
      }
      await clock.advance(1_000);
      const ping = newest?.heard.findLast((message) => message.kind === 'ping');
      if (ping?.kind === 'ping' && !newest?.isKilled) newest?.say({ kind: 'pong', id: ping.id, lagMs: 0 });
    }

    assert.not.ok(faults.has(kind), 'it was thrown');
    if (isEnding) return assert.is(exitCode, kind === 'refuse_start' ? 3 : 0);
    assert.is(exitCode, undefined);
    assert.ok(world.log.includes('effect.failed'));
    assert.ok(plugins.length > 1);
    assert.not.ok(plugins.at(-1)?.isKilled);
    assert.is(world.facts?.pluginPid, plugins.length);
    assert.is(plugins.filter(({ isKilled }) => !isKilled).length - (isGone(kind) ? 1 : 0), 1, 'nobody else lives');
  });
}

const greeted = new Set<unknown>();

/** The first plugin ended by itself. */
function isGone(kind: Effect['kind']): boolean {
  return ['launch', 'arm', 'count', 'drop_prepared', 'replacement_failed'].includes(kind);
}

test('where not even a timer can be set, the process ends, and its service manager begins anew', async () => {
  const { clock, loop, faults, plugin, inService } = await createBench();
  let exitCode: number | undefined;
  void loop.ended.then((code) => {
    exitCode = code;
  });
  await inService();
  const { add } = faults;
  faults.delete = (kind) => kind === 'arm';
  add.call(faults, 'arm');
  plugin(0).end();
  await clock.settle();

  assert.is(exitCode, 5);
});

test.run();
