// The exploration finds no violation and finds each planted one; and its played half (saving, time, restarts) does what the
// real classes do: random walks take the same steps on both and compare what disk, Status and registry say.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { StatusCache } from '../../plugin/health/status-cache.ts';
import type { KeyProfile } from '../../plugin/keys/profile.ts';
import { Probes } from '../../plugin/probes/probes.ts';
import { ProviderError } from '../../shared/errors/error.ts';
import type { RegistryState } from '../../shared/registry/state.ts';
import { StateStore } from '../../supervisor/custody/state-store.ts';
import { createFakeClock } from '../support/fake-clock.ts';
import { createMemoryFiles } from '../support/memory-files.ts';
import { identity, profile as profileOf } from '../support/vectors.ts';
import { explore } from './explore.ts';
import { emptyNode, isHealthy, mayEncrypt, type Node, settings, stepsOf } from './node.ts';
import { bounds, describeOutcome, tryAllPlanted } from './run.ts';

for (const limits of bounds) {
  test(`all sentences hold with ${JSON.stringify(limits)}`, () => {
    const outcome = explore(limits);
    process.stdout.write(`${describeOutcome(limits, outcome)}\n`);
    assert.is(outcome.violation, undefined);
  });
}

test('each guard that is switched off breaks the sentence it stands for', async () => {
  const results = await tryAllPlanted();

  assert.ok(results.length >= 6);
  assert.equal(
    results.filter(({ found, wanted }) => found !== wanted),
    [],
  );
});

/** The real plugin and supervisor classes, with nothing but clock and disk played. */
function createReal() {
  const clock = createFakeClock();
  const memory = createMemoryFiles();
  const files = {
    ...memory,
    create: async (name: string) => {
      if (world.isDiskFull) throw new Error('no space left');
      return memory.create(name);
    },
  };
  const store = new StateStore({
    files,
    name: 'key-registry.json',
    identity,
    requireCheckpoint: false,
    activationDelayMs: settings.activationDelayMs,
    nowMs: clock.nowMs,
    nowUnix: () => 1_750_000_300,
    randomHex: () => '00000000',
  });
  const world = { profile: profileOf(1), isDiskFull: false };
  const createPlugin = () => {
    const cache = new StatusCache(clock, { statusMaxStalenessMs: 1e12, deepMaxAgeMs: 1e12 });
    if (store.current !== undefined) cache.load(store.current);
    let sealed = Buffer.alloc(0);
    const probes = new Probes({
      clock,
      random: () => 0.5,
      readRights: async () => [],
      cache,
      transit: {
        readUpsertDisabled: async () => true,
        readKey: async () => world.profile,
        encrypt: async ({ keyVersion, plaintext }) => {
          if (!mayEncrypt(world.profile, keyVersion)) throw new ProviderError('bao_invalid_request', 'x');
          sealed = Buffer.from(plaintext);
          return `vault:v${keyVersion}:eA==`;
        },
        decrypt: async () => Buffer.from(sealed),
      },
      commit: (state) => store.commit(state),
      randomBytes: (size) => Buffer.alloc(size, 7),
      record: () => {},
      // Every probe may count, as in the model.
      settings: { ...settings, probeIntervalMs: 0, timeoutMs: 2_000, stable: store.stable },
    });
    return { cache, probes };
  };
  return { clock, store, world, createPlugin };
}

const brief = (state: RegistryState | undefined) =>
  state?.snapshots.map(
    ({ transitVersion, state: kind, stableObservationCount, stableAtUnix }) =>
      `${kind} ${transitVersion} ${stableObservationCount} ${stableAtUnix !== 0}`,
  );

type Walked = { readonly label: string; readonly node: Node };

/** Rolls a step of the model. */
function roll(node: Node, profile: KeyProfile, random: () => number): Walked {
  const wanted = [
    'advance',
    'advance',
    'discover',
    'half of the delay passes',
    'half of the delay passes',
    'deep probe',
    'plugin killed',
  ];
  const kind = wanted[Math.floor(random() * wanted.length)] ?? 'advance';
  const isDiskFull = random() < 0.15;
  const steps = stepsOf(node, profile).filter(({ label }) => label.startsWith(kind));
  const fits = (label: string) => {
    const fates = label.split(': ')[1]?.split(', ') ?? [];
    return fates.every((fate) =>
      fate === 'proven' ? true : isDiskFull ? fate === 'disk untouched' : fate === 'saved',
    );
  };
  // A candidate that can encrypt is proven by the real one; "not proven" is the only choice where it cannot.
  const step =
    steps.find(({ label }) => fits(label)) ?? steps.find(({ label }) => fits(label.replace('not proven', 'proven')));
  if (step === undefined) return { label: 'nothing', node };
  return { label: `${kind}${isDiskFull ? ' full' : ''}`, node: step.node };
}

async function walk(seed: number): Promise<void> {
  let seeded = seed;
  const random = () => {
    seeded = (seeded * 1_103_515_245 + 12_345) % 2_147_483_648;
    return seeded / 2_147_483_648;
  };
  const real = createReal();
  await real.store.load();
  let plugin = real.createPlugin();
  const signal = new AbortController().signal;
  let node: Node = { ...emptyNode };
  const start = (from: Node) =>
    stepsOf(from, real.world.profile).find(({ label }) => label === 'plugin started')?.node ?? from;
  node = start(node);
  const path: string[] = [];
  for (let count = 0; count < 30; count += 1) {
    if (random() < 0.1 && real.world.profile.latestVersion < 3)
      real.world.profile = profileOf(real.world.profile.latestVersion + 1);
    if (random() < 0.1) {
      const { latestVersion } = real.world.profile;
      real.world.profile = profileOf(latestVersion, { minEncryptionVersion: random() < 0.5 ? 0 : latestVersion });
    }
    const { label, node: next } = roll(node, real.world.profile, random);
    path.push(`${label} at ${real.world.profile.latestVersion}/${real.world.profile.minEncryptionVersion}`);
    real.world.isDiskFull = label.endsWith('full');
    node = next;
    if (label.startsWith('advance')) await plugin.probes.metadata('bootstrap', signal);
    if (label.startsWith('discover')) await plugin.probes.metadata('bootstrap', signal, 'discover');
    if (label.startsWith('deep')) await plugin.probes.deep('bootstrap', signal);
    if (label.startsWith('half')) await real.clock.advance(settings.activationDelayMs / 2);
    if (label.startsWith('plugin killed')) {
      node = start(node);
      await real.store.complete(await real.store.load());
      plugin = real.createPlugin();
    }
    const said = {
      disk: brief(real.store.current),
      generation: real.store.current?.generation,
      published: brief(plugin.cache.state),
      healthz: plugin.cache.verdict().healthz,
    };
    const modelled = {
      disk: brief(node.disk.state),
      generation: node.disk.state?.generation,
      published: brief(node.plugin?.published),
      healthz: isHealthy(node) ? 'ok' : 'unhealthy',
    };
    assert.equal(said, modelled, `seed ${seed}: ${path.join('; ')}`);
  }
}

test('200 random walks: the model and the real classes agree at every step', async () => {
  for (let seed = 1; seed <= 200; seed += 1) await walk(seed);
});

test.run();
