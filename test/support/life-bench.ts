// Two plugins, one incumbent, as a bench: the plugins are played by the test over real channels; the state store is the real one on
// files in memory. Each effect of the life machine can be made to throw.

import { duplexPair } from 'node:stream';
import { encodeFrame, FrameDecoder } from '../../shared/channel/frame.ts';
import {
  type CredentialMessage,
  encodeMessage,
  type HealthMessage,
  type PluginMessage,
  parseSupervisorMessage,
  type SupervisorMessage,
} from '../../shared/channel/messages.ts';
import type { LogFields } from '../../shared/log/fields.ts';
import { encodeState } from '../../shared/registry/state.ts';
import { StateStore } from '../../supervisor/custody/state-store.ts';
import type { ChildEnd } from '../../supervisor/launch/child.ts';
import { emptyCounters } from '../../supervisor/launch/counters.ts';
import type { Custody } from '../../supervisor/launch/running.ts';
import type { Effect } from '../../supervisor/lifecycle/events.ts';
import { createLoop, type LifeFacts, type Prepared } from '../../supervisor/lifecycle/loop.ts';
import { createFakeClock } from './fake-clock.ts';
import { createMemoryFiles } from './memory-files.ts';
import { firstState, identity } from './vectors.ts';

export type Played = {
  readonly heard: SupervisorMessage[];
  /** In one piece. */
  readonly say: (...messages: PluginMessage[]) => void;
  readonly end: (end?: ChildEnd) => void;
  isKilled: boolean;
};

/** What a plugin says of itself that has no right it could lose. */
export const confinement = {
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
export const ready: PluginMessage = { kind: 'ready', confinement, isPermissionModelOn: true };
export const healthy: HealthMessage = {
  kind: 'health',
  healthz: 'ok',
  reasons: [],
  errorClasses: [],
  rotationState: 'active',
};

/** No save begins before `resolve`. */
export function holdDisk(files: ReturnType<typeof createMemoryFiles>): { readonly resolve: () => void } {
  const disk = Promise.withResolvers<void>();
  const { create } = files;
  Object.assign(files, {
    create: async (name: string) => {
      await disk.promise;
      return create(name);
    },
  });
  return { resolve: () => disk.resolve() };
}

/** An effect of the life machine that throws, once. */
export type Fault = Effect['kind'];

export async function createBench() {
  const faults = new Set<Fault>();
  const failIf = (kind: Fault) => {
    if (faults.delete(kind)) throw new Error('played');
  };
  const clock = createFakeClock();
  const files = createMemoryFiles();
  const store = new StateStore({
    files,
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
  const plugins: Played[] = [];
  const credentials: CredentialMessage[] = [
    { kind: 'credential', name: 'jwt', generation: 1, modifiedAtUnixMs: 0, bytes: '' },
  ];
  const launch = (kill: Fault) => {
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
    const end = () => {
      failIf(kill);
      played.isKilled = true;
      ended.resolve({ reason: 'signal', exitCode: undefined, signal: 'SIGKILL' });
    };
    return { pid: plugins.length, channel: ours, kill: end, ended: ended.promise };
  };
  const held: Custody['store'] = {
    commit: (text) => store.commit(text),
    idle: async () => {
      failIf('drain');
      await store.idle();
    },
    get current() {
      return store.current;
    },
    get stable() {
      return store.stable;
    },
    get isClockBehind() {
      return store.isClockBehind;
    },
  };
  const custody: Custody = {
    store: held,
    credentials: { look: () => credentials },
    loginCredentials: ['jwt'],
    isStateDirectoryGone: () => world.isStateDirectoryGone,
    privilege: { kind: 'same-user' },
    launch: () => {
      failIf('launch');
      return launch('kill');
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
  counters.restarts = new Proxy(counters.restarts, {
    set: (target, name, value) => {
      failIf('count');
      return Reflect.set(target, name, value);
    },
  });
  const world = {
    log: [] as string[],
    lines: [] as { readonly level: string; readonly message: string; readonly fields: LogFields | undefined }[],
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
  const faultyClock = {
    ...clock,
    after: (ms: number, run: () => void) => {
      failIf('arm');
      const cancel = clock.after(ms, run);
      return () => {
        cancel();
        failIf('disarm');
        failIf('end');
      };
    },
  };
  const loop = createLoop({
    clock: faultyClock,
    random: () => 0.5,
    log: (level, message, fields) => {
      world.log.push(message);
      world.lines.push({ level, message, fields });
      if (message === 'gate.refused') failIf('run_gate');
      if (message === 'reload.refused') failIf(fields?.reason === 'not_ready' ? 'replacement_failed' : 'prepare');
    },
    gate: async () => {
      refuseIfTold();
      return custody;
    },
    prepare: async (cause): Promise<Prepared> => {
      await world.preparing;
      refuseIfTold();
      const adopt = () => {
        failIf('hand_over');
        world.adopted += 1;
      };
      const abandon = () => {
        failIf('drop_prepared');
        world.abandoned += 1;
      };
      const launchNext = () => {
        failIf('launch_next');
        return launch('kill_next');
      };
      return { ...custody, launch: launchNext, cause, readyMs: 20_000, adopt, abandon };
    },
    removeName: () => failIf('remove_name'),
    counters,
    healthChanged: (health) => world.health.push(health?.healthz),
    startRefused: (refusal) => {
      failIf('refuse_start');
      world.refusals.push(refusal);
    },
    portsUnopened: () => {},
    becameIncumbent: () => {},
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
  /** The first plugin is the incumbent and healthy. */
  const inService = async () => {
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
  return {
    clock,
    files,
    store,
    plugins,
    plugin,
    loop,
    world,
    counters,
    credentials,
    faults,
    inService,
    reload,
    generation,
  };
}
