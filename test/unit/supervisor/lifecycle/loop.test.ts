// Two plugins, one incumbent: every interleaving of ready, proposals, saves and ends. The plugins are played by the test over
// real channels; the state store is the real one on files in memory.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { PluginMessage } from '../../../../shared/channel/messages.ts';
import { errorClassOf } from '../../../../shared/errors/error.ts';
import { encodeState, parseState, type RegistryState } from '../../../../shared/registry/state.ts';
import { refusalOf } from '../../../../supervisor/lifecycle/giving-up.ts';
import { GateRefusal } from '../../../../supervisor/refusal.ts';
import { createBench, healthy, holdDisk, type Played, ready } from '../../../support/life-bench.ts';
import { firstState, nextState, snapshot } from '../../../support/vectors.ts';

const following = (before: RegistryState) =>
  nextState(before, [snapshot(1), snapshot(2, { state: 'pending', promotedAtUnix: 0 })]);
const propose = (state: RegistryState, commitId = 1): PluginMessage => ({
  kind: 'propose',
  commitId,
  state: encodeState(state),
});
const answers = ({ heard }: Played) => heard.filter(({ kind }) => kind === 'committed');

const sick: PluginMessage = { ...healthy, healthz: 'unhealthy', reasons: ['status_stale'] };

test('the incumbent proposes, and hears when it is on disk', async () => {
  const { inService, clock, generation } = await createBench();
  const incumbent = await inService();
  incumbent.say(propose(following(firstState())));
  await clock.settle();

  assert.equal(answers(incumbent), [{ kind: 'committed', commitId: 1, outcome: 'saved', onDisk: 'attempted' }]);
  assert.is(generation(), 2);
});

test('a proposal of the old one that comes after the hand-over is refused, which is no violation', async () => {
  const { inService, reload, clock, generation, world } = await createBench();
  const old = await inService();
  const next = await reload();
  next.say(ready);
  await clock.settle();
  old.say(propose(following(firstState())));
  await clock.settle();

  assert.equal(answers(old), [{ kind: 'committed', commitId: 1, outcome: 'refused', onDisk: 'other' }]);
  assert.is(generation(), 1);
  assert.not.ok(old.isKilled);
  assert.not.ok(world.log.includes('plugin.violation'));
});

test('a proposal of the old one while the new one gets ready waits, and is refused once the hand-over is done', async () => {
  const { inService, reload, clock, generation, plugins } = await createBench();
  const old = await inService();
  const next = await reload();
  old.say(propose(following(firstState())));
  await clock.settle();
  assert.equal(answers(old), []);
  next.say(ready);
  await clock.settle();

  assert.equal(answers(old), [{ kind: 'committed', commitId: 1, outcome: 'refused', onDisk: 'other' }]);
  assert.equal([generation(), plugins.length, next.isKilled], [1, 2, false]);
});

test('a proposal that waited is decided when the new one ends instead', async () => {
  const { inService, reload, clock, generation } = await createBench();
  const old = await inService();
  const next = await reload();
  old.say(propose(following(firstState())));
  await clock.settle();
  next.end();
  await clock.settle();

  assert.equal(answers(old), [{ kind: 'committed', commitId: 1, outcome: 'saved', onDisk: 'attempted' }]);
  assert.is(generation(), 2);
});

test('a save that was under way when the new one started: another one is started from it', async () => {
  const { inService, reload, clock, files, generation, plugins, plugin } = await createBench();
  const old = await inService();
  const disk = holdDisk(files);
  old.say(propose(following(firstState())));
  await clock.settle();
  const next = await reload();
  next.say(ready);
  await clock.settle();
  assert.not.ok(next.isKilled, 'the hand-over waits for the save');
  disk.resolve();
  await clock.settle();

  assert.is(generation(), 2);
  assert.equal([next.isKilled, plugins.length], [true, 3]);
  const [start] = plugin(2).heard;
  assert.is(parseState((start as { state: string }).state).generation, 2);
  plugin(2).say(ready);
  await clock.settle();
  assert.ok(
    old.heard.some(({ kind }) => kind === 'drain'),
    'the third is the incumbent',
  );
});

test('a plugin that commits all the time is replaced all the same', async () => {
  const { inService, reload, clock, store, plugins } = await createBench();
  const old = await inService();
  let said = 0;
  const again = () => {
    if (answers(old).length < said) return;
    said += 1;
    const before = store.current ?? firstState();
    old.say(propose(nextState(before, [snapshot(1)]), before.generation));
  };
  for (let count = 0; count < 8; count += 1) {
    again();
    await clock.settle();
  }
  assert.is(store.current?.generation, 6, 'five at once');
  const next = await reload();
  next.say(ready);
  await clock.advance(500);

  assert.equal([plugins.length, next.isKilled], [2, false]);
  assert.ok(old.heard.some(({ kind }) => kind === 'drain'));
});

test('a proposal of the new one right behind its ready is decided once it is the incumbent', async () => {
  const { inService, reload, clock, generation, world } = await createBench();
  const old = await inService();
  const next = await reload();
  next.say(ready, propose(following(firstState())));
  await clock.settle();

  assert.equal(answers(next), [{ kind: 'committed', commitId: 1, outcome: 'saved', onDisk: 'attempted' }]);
  assert.is(generation(), 2);
  assert.ok(old.heard.some(({ kind }) => kind === 'drain'));
  assert.is(world.adopted, 1);
});

test('a new one that proposes before it is ready breaks a rule: it is killed and the old one stays', async () => {
  const { inService, reload, clock, generation, world } = await createBench();
  const old = await inService();
  const next = await reload();
  next.say(propose(following(firstState())));
  await clock.settle();

  assert.ok(next.isKilled);
  assert.not.ok(old.isKilled);
  assert.is(generation(), 1);
  assert.ok(world.log.includes('plugin.violation'));
});

test('a plugin that ends in the middle of its own save: the save ends, and the next one starts from it', async () => {
  const { inService, clock, generation, plugin } = await createBench();
  const incumbent = await inService();
  incumbent.say(propose(following(firstState())));
  incumbent.end();
  await clock.advance(1);

  assert.is(generation(), 2);
  const [start] = plugin(1).heard;
  assert.is(parseState((start as { state: string }).state).generation, 2);
});

test('a promotion before the delay kills whoever proposes it, and nothing is written', async () => {
  const { inService, clock, store, generation } = await createBench();
  const incumbent = await inService();
  const stable = { stableObservationCount: 1, stableAtUnix: 1_750_000_200, promotedAtUnix: 0 };
  const two = nextState(firstState(), [snapshot(1), snapshot(2, { state: 'pending', ...stable })]);
  incumbent.say(propose(two));
  await clock.settle();
  const promoted = nextState(two, [
    snapshot(2, { ...stable, promotedAtUnix: 1_750_000_300 }),
    snapshot(1, { state: 'retired' }),
  ]);
  incumbent.say(propose(promoted, 2));
  await clock.settle();
  assert.ok(incumbent.isKilled);
  assert.is(generation(), 2);
  await clock.advance(120_000);
  assert.is((await store.commit(encodeState(promoted))).outcome, 'saved', 'after the delay it is legal');
});

test('each plugin that is launched is told with its process and its number', async () => {
  const { inService, reload, clock, world } = await createBench();
  await inService();
  const next = await reload();
  next.say(ready, healthy);
  await clock.settle();
  assert.equal(
    world.lines.filter(({ message }) => message === 'plugin.started').map(({ fields }) => fields),
    [
      { pid: 1, launch: 1 },
      { pid: 2, launch: 2 },
    ],
  );
});

test('a plugin that was replaced may say that it has drained', async () => {
  const { inService, reload, clock, world } = await createBench();
  const old = await inService();
  const next = await reload();
  next.say(ready, healthy);
  await clock.settle();
  old.say({ kind: 'drained', cut: 0 });
  await clock.settle();

  assert.not.ok(old.isKilled);
  assert.ok(world.log.includes('plugin.drained'));
  assert.not.ok(world.log.includes('plugin.violation'));
});

test('a clock that is right is not complained of, and a state that is refused is told with its class', async () => {
  const { inService, clock, world } = await createBench();
  const incumbent = await inService();
  incumbent.say(propose(following(firstState())));
  await clock.settle();
  assert.not.ok(world.log.includes('state.clock_behind'));
  incumbent.say(propose(following(following(following(firstState()))), 2));
  await clock.settle();
  assert.equal(
    world.lines.filter(({ message }) => message === 'state.refused'),
    [{ level: 'error', message: 'state.refused', fields: { error_class: 'state_rollback' } }],
  );
  assert.ok(incumbent.isKilled);
});

test('a second proposal before the answer to the first is a violation', async () => {
  const { inService, clock } = await createBench();
  const incumbent = await inService();
  incumbent.say(propose(following(firstState())), propose(following(firstState()), 2));
  await clock.settle();

  assert.ok(incumbent.isKilled);
});

test('a plugin without pong for ten seconds is killed, counted and relaunched', async () => {
  const { inService, clock, counters, plugins } = await createBench();
  const incumbent = await inService();
  await clock.advance(14_000);

  assert.ok(incumbent.isKilled);
  assert.equal(counters.restarts, { hung: 1 });
  assert.is(plugins.length, 2);
});

test('a credential that changes while a second plugin starts reaches both, each generation once', async () => {
  const { inService, reload, clock, loop, credentials, world } = await createBench();
  const old = await inService();
  credentials[0] = { kind: 'credential', name: 'jwt', generation: 2, modifiedAtUnixMs: 0, bytes: '' };
  const next = await reload();
  loop.credentialsChanged();
  loop.credentialsChanged();
  await clock.settle();

  const generations = ({ heard }: Played) =>
    heard.flatMap((message) => (message.kind === 'credential' ? [message.generation] : []));
  assert.equal(generations(old), [1, 2]);
  assert.equal(generations(next), [2]);
  assert.is(world.log.filter((line) => line === 'credential.changed').length, 1);
});

test('a plugin that ends while a reload is prepared: what was prepared is dropped, the reload is done all the same', async () => {
  const { inService, clock, loop, world, plugins } = await createBench();
  const gate = Promise.withResolvers<void>();
  const incumbent = await inService();
  world.preparing = gate.promise;
  loop.event({ kind: 'reload' });
  incumbent.end();
  await clock.settle();
  gate.resolve();
  await clock.advance(1);

  assert.is(world.abandoned, 1);
  assert.is(world.adopted, 0);
  assert.is(plugins.length, 2);
  assert.not.ok(world.facts?.refusedBy);
});

test('a lost name is repaired with a second plugin that need not wait until it is healthy', async () => {
  const { inService, clock, loop, plugin, counters, world } = await createBench();
  await inService();
  loop.event({ kind: 'name_lost' });
  await clock.settle();
  const [start] = plugin(1).heard;
  assert.is((start as { listen: string }).listen, 'now');
  plugin(1).say(ready);
  await clock.advance(2_999);
  assert.is(world.adopted, 0, 'the incumbent is well, and its clients stay with it');
  await clock.advance(1);

  assert.is(world.adopted, 1);
  assert.equal(counters.restarts, { socket_lost: 1 });
  assert.ok(world.log.includes('socket.repaired'));
});

test('the hand-over of a repair comes as soon as the new plugin is healthy, or the incumbent is not', async () => {
  for (const [who, said] of [
    [1, healthy],
    [0, sick],
  ] as const) {
    const { inService, clock, loop, plugin, world } = await createBench();
    await inService();
    loop.event({ kind: 'name_lost' });
    await clock.settle();
    plugin(1).say(ready);
    await clock.advance(500);
    assert.is(world.adopted, 0);
    plugin(who).say(said);
    await clock.settle();
    assert.is(world.adopted, 1);
  }
});

test('a plugin that was started beside a sick one gives it a little time when that has become well meanwhile', async () => {
  const { clock, plugin, reload, world } = await createBench();
  plugin(0).say(ready, sick);
  await clock.settle();
  const next = await reload();
  assert.is((next.heard[0] as { listen: string }).listen, 'now');
  plugin(0).say(healthy);
  next.say(ready);
  await clock.advance(2_999);
  assert.is(world.adopted, 0);
  await clock.advance(1);
  assert.is(world.adopted, 1);
});

test('a repair that the gate refuses changes nothing, and the next look tries again', async () => {
  const { inService, clock, loop, plugins, world } = await createBench();
  const incumbent = await inService();
  world.refuse = true;
  loop.event({ kind: 'name_lost' });
  await clock.settle();
  assert.ok(world.log.includes('socket.repair_refused'));
  assert.not.ok(incumbent.isKilled);
  world.refuse = false;
  loop.event({ kind: 'name_lost' });
  await clock.settle();
  assert.is(plugins.length, 2);
});

test('a second plugin that fails to repair a lost name is told as a repair, not as a reload', async () => {
  const { inService, clock, loop, plugin, world } = await createBench();
  await inService();
  loop.event({ kind: 'name_lost' });
  await clock.settle();
  plugin(1).end();
  await clock.settle();

  assert.ok(world.log.includes('socket.repair_refused'));
  assert.not.ok(world.log.includes('reload.refused'));
  assert.is(world.abandoned, 1);
});

test('a reload right behind a reload: the next one waits until it is healthy, although the one before has said nothing yet', async () => {
  const { inService, reload, clock, plugin } = await createBench();
  await inService();
  const second = await reload();
  second.say(ready);
  await clock.settle();
  await reload();

  const listens = [0, 1, 2].map((index) => (plugin(index).heard[0] as { listen: string }).listen);
  assert.equal(listens, ['now', 'when_healthy', 'when_healthy']);
});

test('a relaunch that the gate refuses says by what and when it is tried again', async () => {
  const { inService, clock, world } = await createBench();
  const incumbent = await inService();
  world.refuse = true;
  incumbent.end();
  await clock.advance(1);
  await clock.advance(1);

  assert.is(world.facts?.refusedBy, 'gate.listeners');
  assert.is(world.facts?.pluginPid, undefined);
  assert.ok((world.facts?.nextTryMs ?? 0) > 0);
});

test('what the first plugin gives up for is a refusal of the gate: check, field, reason, and exit 3', async () => {
  const { clock, plugin, loop, world, counters } = await createBench();
  let exitCode: number | undefined;
  void loop.ended.then((code) => {
    exitCode = code;
  });
  plugin(0).say({ kind: 'giving_up', class: 'ca_invalid', finding: 'ca_der', canRelaunchHelp: false });
  await clock.settle();

  assert.is(exitCode, 3);
  const [refusal] = world.refusals as [{ check: string; reason: string; hint: string }];
  assert.equal([refusal.check, refusal.reason], ['gate.credentials', 'ca_invalid']);
  assert.match(refusal.hint, /^openbao\.caCertFile: .*openssl x509 -inform der/u);
  assert.equal(counters.gateRefusals, { credentials: 1 });
  const line = world.lines.find(({ message }) => message === 'gate.refused');
  assert.is(line?.fields?.field, 'openbao.caCertFile');
});

test('a plugin that gives up for something of its own ends the start with 5', async () => {
  const { clock, plugin, loop, world } = await createBench();
  let exitCode: number | undefined;
  void loop.ended.then((code) => {
    exitCode = code;
  });
  plugin(0).say({ kind: 'giving_up', class: 'internal', canRelaunchHelp: false });
  await clock.settle();

  assert.is(exitCode, 5);
  assert.is((world.refusals as { hint: string }[])[0]?.hint, 'an error of our own');
});

test('a save that fails because the state directory is gone says so, to the plugin and to who can act', async () => {
  const { inService, clock, files, world } = await createBench();
  const incumbent = await inService();
  world.isStateDirectoryGone = true;
  files.failFrom = 1;
  incumbent.say(propose(following(firstState())));
  await clock.settle();

  const [answer] = answers(incumbent) as { outcome: string; finding?: string }[];
  assert.equal([answer?.outcome, answer?.finding], ['failed', 'state_directory_gone']);
  assert.is(world.stateNeeded, 1);
});

test('whether a credential is in use is what the incumbent said', async () => {
  const { inService, clock, loop, reload } = await createBench();
  const incumbent = await inService();
  assert.ok(loop.hasCredential(), 'it has just started');
  await clock.advance(10_000);
  assert.not.ok(loop.hasCredential());
  incumbent.say({ kind: 'credential_result', name: 'jwt', generation: 1, result: 'in_use' });
  await clock.settle();
  assert.ok(loop.hasCredential());
  const failing = (errorClass: string) =>
    incumbent.say({
      ...healthy,
      healthz: 'unhealthy',
      reasons: ['login_failed'],
      errorClasses: [errorClass],
      cause: { class: errorClass, sinceUnixMs: 0 },
    });
  failing('connection_failed');
  await clock.settle();
  assert.ok(loop.hasCredential(), 'an outage says nothing against it');
  failing('auth_rejected');
  await clock.settle();
  assert.not.ok(loop.hasCredential(), 'it cannot log in any more');
  incumbent.say({ ...healthy, isCredentialEnding: true });
  await clock.settle();
  assert.not.ok(loop.hasCredential(), 'it ends within its refresh window');
  const next = await reload();
  next.say({ kind: 'credential_result', name: 'jwt', generation: 1, result: 'in_use' }, ready, healthy);
  await clock.advance(20_000);
  assert.ok(loop.hasCredential(), 'what the next one said before it became the incumbent counts too');
});

test('giving_up of a plugin that was killed already is no news of the one that started after it', async () => {
  const { clock, plugin, plugins, loop } = await createBench();
  let isEnded = false;
  void loop.ended.then(() => {
    isEnded = true;
  });
  await clock.advance(20_000);
  await clock.advance(1);
  assert.ok(plugin(0).isKilled, 'not ready in time');
  assert.is(plugins.length, 2);
  plugin(0).say({ kind: 'giving_up', class: 'listener_unavailable', canRelaunchHelp: false });
  await clock.settle();

  assert.not.ok(isEnded);
  assert.not.ok(plugin(1).isKilled);
});

test('what a second plugin said of itself before it became the incumbent is passed on once, when it is', async () => {
  const { inService, clock, reload, world } = await createBench();
  await inService();
  const next = await reload();
  next.say(ready, sick);
  await clock.settle();

  assert.equal(world.health, ['ok', 'unhealthy']);
});

test('a plugin that took over from another one is killed when it leaves a ping unanswered', async () => {
  const { inService, clock, reload } = await createBench();
  await inService();
  const next = await reload();
  next.say(ready);
  await clock.advance(20_000);

  assert.ok(next.isKilled);
});

test('a replaced plugin that does not end is killed after 17 s, and not before', async () => {
  const { inService, clock, reload } = await createBench();
  const incumbent = await inService();
  const next = await reload();
  next.say(ready);
  await clock.settle();
  await clock.advance(16_999);
  assert.not.ok(incumbent.isKilled);
  await clock.advance(1);

  assert.ok(incumbent.isKilled);
});

test('each refused credential of the incumbent is counted and told to both, none of the second one is', async () => {
  const { inService, clock, reload, counters } = await createBench();
  const incumbent = await inService();
  const next = await reload();
  const refused: PluginMessage = {
    kind: 'credential_result',
    name: 'jwt',
    generation: 1,
    result: 'refused',
    class: 'auth_rejected',
  };
  incumbent.say(refused);
  await clock.settle();
  incumbent.say(refused);
  next.say(refused);
  await clock.settle();

  assert.equal(counters.credentialRefusals, { 'jwt auth_rejected': 2 });
  assert.is(next.heard.filter(({ kind }) => kind === 'counters').length, 2);
});

test('a plugin that is healthy has its credential, although the last login failed', async () => {
  const { inService, clock, loop } = await createBench();
  const incumbent = await inService();
  incumbent.say({ kind: 'credential_result', name: 'jwt', generation: 1, result: 'in_use' });
  incumbent.say({ ...healthy, reasons: ['login_failed'], errorClasses: ['auth_rejected'] });
  await clock.advance(1_000);

  assert.ok(loop.hasCredential());
});

test('a state of another identity is a refusal of the state check; a class that nobody knows is an error of ours', () => {
  const givingUp = { kind: 'giving_up', canRelaunchHelp: false } as const;
  const bound = refusalOf({ ...givingUp, class: 'state_binding' });
  assert.ok(bound instanceof GateRefusal);
  assert.is(bound.check, 'gate.state');
  const unknown = refusalOf({ ...givingUp, class: 'no_such_class' });
  assert.not.ok(unknown instanceof GateRefusal);
  assert.is(errorClassOf(unknown), 'internal');
});

test('a stop waits for a save that is under way, then says drain, and hears of proposals no more', async () => {
  const { inService, clock, files, loop, generation, world } = await createBench();
  const incumbent = await inService();
  const disk = holdDisk(files);
  incumbent.say(propose(following(firstState())));
  await clock.settle();
  loop.event({ kind: 'stop' });
  await clock.settle();
  const isDraining = () => incumbent.heard.some(({ kind }) => kind === 'drain');
  assert.not.ok(isDraining());
  disk.resolve();
  await clock.settle();
  assert.ok(isDraining());
  assert.equal([generation(), answers(incumbent).length], [2, 1]);
  incumbent.say({ kind: 'drained', cut: 0 });
  await clock.settle();
  assert.ok(world.log.includes('plugin.drained'), 'only one that drains may say so');
});

test('a plugin that ends as it was told is no warning, one that ends by itself is', async () => {
  for (const isTold of [true, false]) {
    const { inService, clock, loop, world } = await createBench();
    const incumbent = await inService();
    if (isTold) loop.event({ kind: 'stop' });
    await clock.settle();
    incumbent.end();
    await clock.settle();
    const line = world.lines.find(({ message }) => message === 'plugin.exited');
    assert.is(line?.level, isTold ? 'info' : 'warn');
  }
});

test('a new one that ended while we waited for a save does not become the incumbent', async () => {
  const { inService, reload, clock, files, plugins, plugin, world } = await createBench();
  const old = await inService();
  const disk = holdDisk(files);
  old.say(propose(following(firstState())));
  await clock.settle();
  const next = await reload();
  next.say(ready);
  await clock.settle();
  next.end();
  await clock.settle();
  const second = await reload();
  disk.resolve();
  await clock.settle();

  assert.is(plugins.length, 3);
  assert.is(plugin(2), second);
  assert.not.ok(
    old.heard.some(({ kind }) => kind === 'drain'),
    'the second one is not ready yet',
  );
  assert.not.ok(world.log.includes('reload.done'));
});

test('one that did not become the incumbent in time is not asked any more whether it lives', async () => {
  const { inService, reload, clock, loop } = await createBench();
  const old = await inService();
  const next = await reload();
  loop.event({ kind: 'next_failed' });
  await clock.settle();
  const heardBefore = next.heard.length;
  for (let second = 0; second < 30; second += 2) {
    await clock.advance(2_000);
    const ping = old.heard.findLast(({ kind }) => kind === 'ping');
    if (ping?.kind === 'ping') old.say({ kind: 'pong', id: ping.id, lagMs: 0 });
  }
  assert.ok(next.isKilled);
  assert.is(next.heard.length, heardBefore);
  assert.not.ok(old.isKilled);
});

test.run();
