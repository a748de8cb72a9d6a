// Two plugins, one office: every interleaving of ready, proposals, saves and ends. The plugins are played by the test over
// real channels; the state store is the real one on files in memory.

import { duplexPair } from 'node:stream';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { encodeFrame, FrameDecoder } from '../../../shared/channel/frame.ts';
import {
  type CredentialMessage,
  encodeMessage,
  type PluginMessage,
  parseSupervisorMessage,
  type SupervisorMessage,
} from '../../../shared/channel/messages.ts';
import { errorClassOf } from '../../../shared/errors/error.ts';
import type { LogFields } from '../../../shared/log/fields.ts';
import { encodeState, parseState, type RegistryState } from '../../../shared/registry/state.ts';
import { StateStore } from '../../../supervisor/custody/state-store.ts';
import { GateRefusal } from '../../../supervisor/gate/gate.ts';
import type { ChildEnd } from '../../../supervisor/lifecycle/child.ts';
import { emptyCounters } from '../../../supervisor/lifecycle/counters.ts';
import { refusalOf } from '../../../supervisor/lifecycle/giving-up.ts';
import { createLoop, type LifeFacts, type Prepared } from '../../../supervisor/lifecycle/loop.ts';
import type { Custody } from '../../../supervisor/lifecycle/running.ts';
import { createFakeClock } from '../../support/fake-clock.ts';
import { createMemoryFiles } from '../../support/memory-files.ts';
import { firstState, identity, nextState, snapshot } from '../../support/vectors.ts';

type Played = {
  readonly heard: SupervisorMessage[];
  /** In one piece. */
  readonly say: (...messages: PluginMessage[]) => void;
  readonly end: (end?: ChildEnd) => void;
  isKilled: boolean;
};

const confinement = {
  uids: [1, 1, 1, 1],
  gids: [1, 1, 1, 1],
  groups: [],
  inheritable: '0',
  permitted: '0',
  effective: '0',
  bounding: '0',
  ambient: '0',
  noNewPrivs: 1,
  seccomp: 0,
};
const ready: PluginMessage = { kind: 'ready', confinement, isPermissionModelOn: true };
const healthy: PluginMessage = {
  kind: 'health',
  healthz: 'ok',
  reasons: [],
  errorClasses: [],
  rotationState: 'active',
};

async function createBench() {
  const clock = createFakeClock();
  const files = createMemoryFiles();
  const store = new StateStore({
    files,
    name: 'key-registry.json',
    identity,
    requireCheckpoint: false,
    activationDelayMs: 120_000,
    nowMs: clock.nowMs,
    nowUnix: () => 1_760_000_000,
    randomHex: () => '00000000',
  });
  await store.load();
  await store.commit(encodeState(firstState()));
  const plugins: Played[] = [];
  const credentials: CredentialMessage[] = [
    { kind: 'credential', name: 'jwt', generation: 1, modifiedAtUnixMs: 0, bytes: '' },
  ];
  const launch = () => {
    const [ours, theirs] = duplexPair();
    const ended = Promise.withResolvers<ChildEnd>();
    const decoder = new FrameDecoder();
    const played: Played = {
      heard: [],
      say: (...messages) =>
        void theirs.write(Buffer.concat(messages.map((message) => encodeFrame(encodeMessage(message))))),
      end: (end = { reason: 'exit', exitCode: 0, signal: undefined }) => ended.resolve(end),
      isKilled: false,
    };
    theirs.on('data', (chunk: Buffer) => {
      for (const payload of decoder.push(chunk)) played.heard.push(parseSupervisorMessage(payload));
    });
    theirs.on('error', () => {});
    plugins.push(played);
    const kill = () => {
      played.isKilled = true;
      ended.resolve({ reason: 'signal', exitCode: undefined, signal: 'SIGKILL' });
    };
    return { pid: plugins.length, channel: ours, kill, ended: ended.promise };
  };
  const custody: Custody = {
    store,
    credentials: { look: () => credentials },
    isStateDirectoryGone: () => world.isStateDirectoryGone,
    privilege: { kind: 'same-user' },
    launch,
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
  const world = {
    log: [] as string[],
    lines: [] as { readonly message: string; readonly fields: LogFields | undefined }[],
    facts: undefined as LifeFacts | undefined,
    adopted: 0,
    abandoned: 0,
    refuse: false,
    isStateDirectoryGone: false,
    refusals: [] as unknown[],
    health: [] as unknown[],
    stateNeeded: 0,
    preparing: Promise.resolve(),
  };
  const refuseIfTold = () => {
    if (world.refuse) throw new Error('refused');
  };
  const loop = createLoop({
    clock,
    random: () => 0.5,
    log: (_, message, fields) => {
      world.log.push(message);
      world.lines.push({ message, fields });
    },
    gate: async () => {
      refuseIfTold();
      return custody;
    },
    prepare: async (cause): Promise<Prepared> => {
      await world.preparing;
      refuseIfTold();
      const adopt = () => {
        world.adopted += 1;
      };
      const abandon = () => {
        world.abandoned += 1;
      };
      return { ...custody, cause, readyMs: 20_000, adopt, abandon };
    },
    removeName: () => {},
    counters,
    healthChanged: (health) => world.health.push(health?.healthz),
    startRefused: (refusal) => world.refusals.push(refusal),
    portsUnopened: () => {},
    stateDirectoryGone: () => {
      world.stateNeeded += 1;
    },
    factsChanged: (facts) => {
      world.facts = facts;
    },
  });
  await clock.settle();
  const plugin = (index: number): Played => {
    const found = plugins[index];
    if (found === undefined) throw new Error(`no plugin ${index}`);
    return found;
  };
  /** The first plugin is in office and healthy. */
  const inOffice = async () => {
    plugin(0).say(ready);
    plugin(0).say(healthy);
    await clock.settle();
    return plugin(0);
  };
  const reload = async () => {
    loop.event({ kind: 'reload' });
    await clock.settle();
    return plugin(plugins.length - 1);
  };
  const generation = () => store.current?.generation;
  return { clock, files, store, plugins, plugin, loop, world, counters, credentials, inOffice, reload, generation };
}

const following = (before: RegistryState) =>
  nextState(before, [snapshot(1), snapshot(2, { state: 'pending', promotedAtUnix: 0 })]);
const propose = (state: RegistryState, commitId = 1): PluginMessage => ({
  kind: 'propose',
  commitId,
  state: encodeState(state),
});
const answers = ({ heard }: Played) => heard.filter(({ kind }) => kind === 'committed');

test('the plugin in office proposes, and hears when it is on disk', async () => {
  const { inOffice, clock, generation } = await createBench();
  const office = await inOffice();
  office.say(propose(following(firstState())));
  await clock.settle();

  assert.equal(answers(office), [{ kind: 'committed', commitId: 1, outcome: 'saved', onDisk: 'attempted' }]);
  assert.is(generation(), 2);
});

test('a proposal of the old one that comes after the hand-over is refused, which is no violation', async () => {
  const { inOffice, reload, clock, generation, world } = await createBench();
  const old = await inOffice();
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

test('a proposal of the old one while the new one gets ready is saved, and the new one is started again from it', async () => {
  const { inOffice, reload, clock, generation, plugins, plugin } = await createBench();
  const old = await inOffice();
  const next = await reload();
  old.say(propose(following(firstState())));
  next.say(ready);
  await clock.settle();

  assert.is(generation(), 2);
  assert.is(answers(old).length, 1);
  assert.ok(next.isKilled, 'it was started with the state before');
  assert.is(plugins.length, 3);
  const [start] = plugin(2).heard;
  assert.ok(start?.kind === 'start');
  assert.is(parseState((start as { state: string }).state).generation, 2);
  plugin(2).say(ready);
  await clock.settle();
  assert.ok(
    old.heard.some(({ kind }) => kind === 'drain'),
    'office passed to the third',
  );
});

test('a new one that is overtaken three times gives way: the old one stays, nothing is lost', async () => {
  const { inOffice, reload, clock, plugins, plugin, store, world } = await createBench();
  const old = await inOffice();
  await reload();
  for (let round = 1; round <= 3; round += 1) {
    const before = store.current ?? firstState();
    const count = snapshot(2, {
      state: 'pending',
      promotedAtUnix: 0,
      stableObservationCount: round,
    });
    old.say(propose(nextState(before, [snapshot(1), count]), round));
    plugin(plugins.length - 1).say(ready);
    await clock.settle();
  }

  assert.ok(world.log.includes('reload.refused'));
  assert.is(plugins.length, 4, 'started three times beside the first');
  assert.ok(plugins.slice(1).every(({ isKilled }) => isKilled));
  assert.not.ok(old.isKilled);
  assert.is(world.abandoned, 1);
});

test('a proposal of the new one right behind its ready is decided once it is in office', async () => {
  const { inOffice, reload, clock, generation, world } = await createBench();
  const old = await inOffice();
  const next = await reload();
  next.say(ready, propose(following(firstState())));
  await clock.settle();

  assert.equal(answers(next), [{ kind: 'committed', commitId: 1, outcome: 'saved', onDisk: 'attempted' }]);
  assert.is(generation(), 2);
  assert.ok(old.heard.some(({ kind }) => kind === 'drain'));
  assert.is(world.adopted, 1);
});

test('a new one that proposes before it is ready breaks a rule: it is killed and the old one stays', async () => {
  const { inOffice, reload, clock, generation, world } = await createBench();
  const old = await inOffice();
  const next = await reload();
  next.say(propose(following(firstState())));
  await clock.settle();

  assert.ok(next.isKilled);
  assert.not.ok(old.isKilled);
  assert.is(generation(), 1);
  assert.ok(world.log.includes('plugin.violation'));
});

test('a plugin that ends in the middle of its own save: the save ends, and the next one starts from it', async () => {
  const { inOffice, clock, generation, plugin } = await createBench();
  const office = await inOffice();
  office.say(propose(following(firstState())));
  office.end();
  await clock.advance(1);

  assert.is(generation(), 2);
  const [start] = plugin(1).heard;
  assert.is(parseState((start as { state: string }).state).generation, 2);
});

test('a promotion before the delay kills whoever proposes it, and nothing is written', async () => {
  const { inOffice, clock, store, generation } = await createBench();
  const office = await inOffice();
  const stable = { stableObservationCount: 1, stableAtUnix: 1_750_000_200, promotedAtUnix: 0 };
  const two = nextState(firstState(), [snapshot(1), snapshot(2, { state: 'pending', ...stable })]);
  office.say(propose(two));
  await clock.settle();
  const promoted = nextState(two, [
    snapshot(2, { ...stable, promotedAtUnix: 1_750_000_300 }),
    snapshot(1, { state: 'retired' }),
  ]);
  office.say(propose(promoted, 2));
  await clock.settle();
  assert.ok(office.isKilled);
  assert.is(generation(), 2);
  await clock.advance(120_000);
  assert.is((await store.commit(encodeState(promoted))).outcome, 'saved', 'after the delay it is legal');
});

test('a second proposal before the answer to the first is a violation', async () => {
  const { inOffice, clock } = await createBench();
  const office = await inOffice();
  office.say(propose(following(firstState())), propose(following(firstState()), 2));
  await clock.settle();

  assert.ok(office.isKilled);
});

test('a plugin without pong for ten seconds is killed, counted and relaunched', async () => {
  const { inOffice, clock, counters, plugins } = await createBench();
  const office = await inOffice();
  await clock.advance(14_000);

  assert.ok(office.isKilled);
  assert.equal(counters.restarts, { hung: 1 });
  assert.is(plugins.length, 2);
});

test('a credential that changes while a second plugin starts reaches both, each generation once', async () => {
  const { inOffice, reload, clock, loop, credentials, world } = await createBench();
  const old = await inOffice();
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
  const { inOffice, clock, loop, world, plugins } = await createBench();
  const gate = Promise.withResolvers<void>();
  const office = await inOffice();
  world.preparing = gate.promise;
  loop.event({ kind: 'reload' });
  office.end();
  await clock.settle();
  gate.resolve();
  await clock.advance(1);

  assert.is(world.abandoned, 1);
  assert.is(world.adopted, 0);
  assert.is(plugins.length, 2);
  assert.not.ok(world.facts?.refusedBy);
});

test('a lost name is repaired with a second plugin that need not wait until it is healthy', async () => {
  const { inOffice, clock, loop, plugin, counters, world } = await createBench();
  await inOffice();
  loop.event({ kind: 'name_lost' });
  await clock.settle();
  const [start] = plugin(1).heard;
  assert.is((start as { listen: string }).listen, 'now');
  plugin(1).say(ready);
  await clock.settle();

  assert.is(world.adopted, 1);
  assert.equal(counters.restarts, { socket_lost: 1 });
  assert.ok(world.log.includes('socket.repaired'));
});

test('a repair that the gate refuses changes nothing, and the next look tries again', async () => {
  const { inOffice, clock, loop, plugins, world } = await createBench();
  const office = await inOffice();
  world.refuse = true;
  loop.event({ kind: 'name_lost' });
  await clock.settle();
  assert.ok(world.log.includes('socket.repair_refused'));
  assert.not.ok(office.isKilled);
  world.refuse = false;
  loop.event({ kind: 'name_lost' });
  await clock.settle();
  assert.is(plugins.length, 2);
});

test('a second plugin that fails to repair a lost name is told as a repair, not as a reload', async () => {
  const { inOffice, clock, loop, plugin, world } = await createBench();
  await inOffice();
  loop.event({ kind: 'name_lost' });
  await clock.settle();
  plugin(1).end();
  await clock.settle();

  assert.ok(world.log.includes('socket.repair_refused'));
  assert.not.ok(world.log.includes('reload.refused'));
  assert.is(world.abandoned, 1);
});

test('a reload right behind a reload: the next one waits until it is healthy, although the one before has said nothing yet', async () => {
  const { inOffice, reload, clock, plugin } = await createBench();
  await inOffice();
  const second = await reload();
  second.say(ready);
  await clock.settle();
  await reload();

  const listens = [0, 1, 2].map((index) => (plugin(index).heard[0] as { listen: string }).listen);
  assert.equal(listens, ['now', 'when_healthy', 'when_healthy']);
});

test('a relaunch that the gate refuses says by what and when it is tried again', async () => {
  const { inOffice, clock, world } = await createBench();
  const office = await inOffice();
  world.refuse = true;
  office.end();
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
  plugin(0).say({ kind: 'giving_up', class: 'no_such_class', finding: 'x', canRelaunchHelp: false });
  await clock.settle();

  assert.is(exitCode, 5);
  assert.is((world.refusals as { hint: string }[])[0]?.hint, 'an error of our own');
});

test('a save that fails because the state directory is gone says so, to the plugin and to who can act', async () => {
  const { inOffice, clock, files, world } = await createBench();
  const office = await inOffice();
  world.isStateDirectoryGone = true;
  files.failFrom = 1;
  office.say(propose(following(firstState())));
  await clock.settle();

  const [answer] = answers(office) as { outcome: string; finding?: string }[];
  assert.equal([answer?.outcome, answer?.finding], ['failed', 'state_directory_gone']);
  assert.is(world.stateNeeded, 1);
});

test('whether a credential is in use is what the plugin in office said', async () => {
  const { inOffice, clock, loop, reload } = await createBench();
  const office = await inOffice();
  assert.ok(loop.hasCredential(), 'it has just started');
  await clock.advance(10_000);
  assert.not.ok(loop.hasCredential());
  office.say({ kind: 'credential_result', name: 'jwt', generation: 1, result: 'in_use' });
  await clock.settle();
  assert.ok(loop.hasCredential());
  const failing = (errorClass: string) =>
    office.say({
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
  office.say({ ...healthy, isCredentialEnding: true });
  await clock.settle();
  assert.not.ok(loop.hasCredential(), 'it ends within its refresh window');
  const next = await reload();
  next.say({ kind: 'credential_result', name: 'jwt', generation: 1, result: 'in_use' }, ready, healthy);
  await clock.advance(20_000);
  assert.ok(loop.hasCredential(), 'what the next one said before it took office counts too');
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

const sick: PluginMessage = { ...healthy, healthz: 'unhealthy', reasons: ['status_stale'] };

test('what a second plugin said of itself before it took office is passed on once, when it takes it', async () => {
  const { inOffice, clock, reload, world } = await createBench();
  await inOffice();
  const next = await reload();
  next.say(ready, sick);
  await clock.settle();

  assert.equal(world.health, ['ok', 'unhealthy']);
});

test('a plugin that took office from another one is killed when it leaves a ping unanswered', async () => {
  const { inOffice, clock, reload } = await createBench();
  await inOffice();
  const next = await reload();
  next.say(ready);
  await clock.advance(20_000);

  assert.ok(next.isKilled);
});

test('a replaced plugin that does not end is killed after 17 s, and not before', async () => {
  const { inOffice, clock, reload } = await createBench();
  const office = await inOffice();
  const next = await reload();
  next.say(ready);
  await clock.settle();
  await clock.advance(16_999);
  assert.not.ok(office.isKilled);
  await clock.advance(1);

  assert.ok(office.isKilled);
});

test('each refused credential of the plugin in office is counted and told to both, none of the second one is', async () => {
  const { inOffice, clock, reload, counters } = await createBench();
  const office = await inOffice();
  const next = await reload();
  const refused: PluginMessage = {
    kind: 'credential_result',
    name: 'jwt',
    generation: 1,
    result: 'refused',
    class: 'auth_rejected',
  };
  office.say(refused);
  await clock.settle();
  office.say(refused);
  next.say(refused);
  await clock.settle();

  assert.equal(counters.credentialRefusals, { 'jwt auth_rejected': 2 });
  assert.is(next.heard.filter(({ kind }) => kind === 'counters').length, 2);
});

test('a plugin that is healthy has its credential, although the last login failed', async () => {
  const { inOffice, clock, loop } = await createBench();
  const office = await inOffice();
  office.say({ kind: 'credential_result', name: 'jwt', generation: 1, result: 'in_use' });
  office.say({ ...healthy, reasons: ['login_failed'], errorClasses: ['auth_rejected'] });
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

test.run();
