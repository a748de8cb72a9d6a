// Evidence and verdict: what ages, what ends at once, what breakers and schedules do.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { StatusCache } from '../../../../plugin/health/status-cache.ts';
import type { CommitOutcome } from '../../../../plugin/keys/ledger.ts';
import type { KeyProfile } from '../../../../plugin/keys/profile.ts';
import type { RightFinding } from '../../../../plugin/keys/rights.ts';
import { createDiscovery } from '../../../../plugin/probes/discovery.ts';
import { Probes } from '../../../../plugin/probes/probes.ts';
import { createScheduler } from '../../../../plugin/probes/scheduler.ts';
import { type ReadyFacts, readyBody } from '../../../../plugin/telemetry/ready.ts';
import { type ErrorClass, ProviderError } from '../../../../shared/errors/error.ts';
import { parseState } from '../../../../shared/registry/state.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';
import { rejectsClass } from '../../../support/throws.ts';
import { fingerprint, identity, profile, snapshot } from '../../../support/vectors.ts';

type World = {
  profile: KeyProfile;
  isUpsertDisabled: boolean;
  upsert: ErrorClass | undefined;
  metadata: ErrorClass | undefined;
  encrypt: ErrorClass | undefined;
  commit: CommitOutcome;
  calls: string[];
  proposals: string[];
  promoted: number;
  rights: readonly RightFinding[];
  /** Of each probe, in its order: the class of its failure, or `ok`. */
  reports: string[];
};

function createBench() {
  const clock = createFakeClock();
  const cache = new StatusCache(clock, { statusMaxStalenessMs: 120_000, deepMaxAgeMs: 900_000 });
  const world: World = {
    profile: profile(1),
    isUpsertDisabled: true,
    upsert: undefined,
    metadata: undefined,
    encrypt: undefined,
    commit: { outcome: 'saved', onDisk: 'attempted' },
    calls: [],
    proposals: [],
    promoted: 0,
    rights: [],
    reports: [],
  };
  const fail = (errorClass: ErrorClass | undefined) => {
    if (errorClass !== undefined) throw new ProviderError(errorClass, 'x');
  };
  let sealed = Buffer.alloc(0);
  const probes = new Probes({
    clock,
    random: () => 0.5,
    cache,
    readRights: async () => world.rights,
    transit: {
      readUpsertDisabled: async () => {
        world.calls.push('upsert');
        fail(world.upsert);
        return world.isUpsertDisabled;
      },
      readKey: async () => {
        world.calls.push('metadata');
        fail(world.metadata);
        return world.profile;
      },
      encrypt: async ({ keyVersion, plaintext }) => {
        world.calls.push(`encrypt v${keyVersion}`);
        fail(world.encrypt);
        sealed = Buffer.from(plaintext);
        return `vault:v${keyVersion}:eA==`;
      },
      decrypt: async () => Buffer.from(sealed),
    },
    commit: async (state) => {
      world.proposals.push(state);
      return world.commit;
    },
    randomBytes: (size) => Buffer.alloc(size, 7),
    record: (event) => {
      if (event.kind === 'promoted') world.promoted += 1;
      if (event.kind === 'probe') world.reports.push(`${event.probe} ${event.failed?.failure.cause.class ?? 'ok'}`);
    },
    settings: {
      identity,
      identityFingerprint: fingerprint,
      keyName: identity.transitKeyName,
      stableCount: 3,
      activationDelayMs: 120_000,
      probeIntervalMs: 30_000,
      rejectVersionRollback: true,
      timeoutMs: 2_000,
      stable: undefined,
    },
  });
  const signal = new AbortController().signal;
  const both = async () => (await probes.metadata('schedule', signal)) && (await probes.deep('schedule', signal));
  const status = () => ({ healthz: cache.verdict().healthz, reasons: cache.verdict().reasons.join(',') });
  return { clock, cache, world, probes, signal, both, status };
}

test('before anything was probed Status is unhealthy and says why, without an age', () => {
  const { cache, status } = createBench();

  assert.equal(status(), { healthz: 'unhealthy', reasons: 'state_unavailable,status_stale' });
  assert.is(cache.verdict().cacheAgeMs, undefined);
});

test('both probes good: healthy', async () => {
  const { both, status } = createBench();
  await both();

  assert.equal(status(), { healthz: 'ok', reasons: '' });
});

test('one probe’s success does not stand for the other', async () => {
  const { probes, signal, status } = createBench();
  await probes.metadata('schedule', signal);

  assert.equal(status(), { healthz: 'unhealthy', reasons: 'deep_probe_pending' });
});

const noAnswers: readonly ErrorClass[] = [
  'bao_connection_failed',
  'bao_dns_failed',
  'timeout',
  'bao_unavailable',
  'bao_sealed',
  'bao_rate_limited',
];
for (const errorClass of noAnswers) {
  test(`no answer (${errorClass}) lets evidence age: healthy at the bound, unhealthy one millisecond later`, async () => {
    const { both, world, clock, status, cache } = createBench();
    await both();
    world.upsert = errorClass;
    await both();
    assert.is(status().healthz, 'ok');
    assert.equal(cache.verdict().reasons, ['upsert_check_failed']);
    await clock.advance(120_000);
    assert.is(status().healthz, 'ok');
    await clock.advance(1);
    assert.equal(status(), { healthz: 'unhealthy', reasons: 'status_stale,upsert_check_failed' });
  });
}

const wrongAnswers: readonly ErrorClass[] = [
  'bao_permission_denied',
  'bao_not_found',
  'bao_tls_failed',
  'auth_rejected',
  'bao_protocol_error',
];
for (const errorClass of wrongAnswers) {
  test(`a wrong answer (${errorClass}) is believed at once`, async () => {
    const { both, world, status } = createBench();
    await both();
    world.metadata = errorClass;
    await both();

    assert.equal(status(), { healthz: 'unhealthy', reasons: 'metadata_read_failed' });
  });
}

for (const [what, change, reason] of [
  [
    'upsert allowed',
    (world: World) => {
      world.isUpsertDisabled = false;
    },
    'upsert_allowed',
  ],
  [
    'deletion allowed',
    (world: World) => {
      world.profile = profile(1, { isDeletionAllowed: true });
    },
    'profile_invalid',
  ],
  [
    'a recreated key',
    (world: World) => {
      world.profile = profile(1, { versions: new Map([[1, 5]]) });
    },
    'profile_invalid',
  ],
  [
    'encryption blocked',
    (world: World) => {
      world.profile = profile(2, { minEncryptionVersion: 2 });
    },
    'encryption_blocked',
  ],
  [
    'a save that fails',
    (world: World) => {
      world.profile = profile(2);
      world.commit = { outcome: 'failed', onDisk: 'other' };
    },
    'state_save_failed',
  ],
] as const) {
  test(`${what} is unhealthy within one probe, and healthy again when it is mended`, async () => {
    const { both, world, status } = createBench();
    await both();
    change(world);
    await both();
    assert.equal(status(), { healthz: 'unhealthy', reasons: reason });
    world.isUpsertDisabled = true;
    world.profile = profile(1);
    world.commit = { outcome: 'saved', onDisk: 'attempted' };
    if (reason === 'state_save_failed' || reason === 'encryption_blocked') world.profile = profile(2);
    await both();
    assert.is(status().healthz, 'ok');
  });
}

test('a failed save is proposed again with the same bytes, and published only when saved', async () => {
  const { both, world, cache } = createBench();
  await both();
  world.profile = profile(2);
  world.commit = { outcome: 'failed', onDisk: 'other' };
  await both();
  const [, attempted] = world.proposals;
  assert.is(cache.state?.generation, 1);
  await both();
  assert.is(world.proposals[2], attempted);
  world.commit = { outcome: 'saved', onDisk: 'attempted' };
  await both();
  assert.is(world.proposals[3], attempted);
  assert.is(parseState(attempted ?? '').generation, 2);
  assert.is(cache.state?.generation, 3, 'the finished commit is the base of this probe’s own observation');
});

test('bookkeeping that cannot be saved does not take the service down', async () => {
  const { both, world, cache, clock, status } = createBench();
  assert.not.ok(cache.verdict().isPersistenceDegraded);
  await both();
  assert.not.ok(cache.verdict().isPersistenceDegraded);
  world.profile = profile(2);
  await clock.advance(30_000);
  await both();
  world.commit = { outcome: 'failed', onDisk: 'predecessor' };
  await clock.advance(30_000);
  await both();

  assert.is(status().healthz, 'ok');
  assert.ok(cache.verdict().isPersistenceDegraded);
  assert.equal(world.reports.slice(-2), ['metadata state_save_failed', 'deep ok'], 'it is told all the same');
});

test('bookkeeping that cannot be saved is an outage for a key that has not proven itself', async () => {
  const { both, world, probes, signal, clock, status } = createBench();
  await both();
  world.profile = profile(2);
  await clock.advance(30_000);
  await both();
  world.encrypt = 'bao_permission_denied';
  await probes.deep('schedule', signal);
  world.commit = { outcome: 'failed', onDisk: 'predecessor' };
  await clock.advance(30_000);
  await probes.metadata('schedule', signal);

  assert.equal(status(), { healthz: 'unhealthy', reasons: 'state_save_failed,deep_probe_failed' });
});

test('a failed deep probe with an answer is unhealthy at once, without one it ages', async () => {
  const { both, world, status, clock, probes, signal } = createBench();
  await both();
  world.encrypt = 'bao_permission_denied';
  await probes.deep('schedule', signal);
  assert.equal(status(), { healthz: 'unhealthy', reasons: 'deep_probe_failed' });
  world.encrypt = undefined;
  await both();
  world.encrypt = 'bao_connection_failed';
  await probes.deep('schedule', signal);
  assert.is(status().healthz, 'ok');
  await clock.advance(900_001);
  await probes.metadata('schedule', signal);
  assert.is(status().healthz, 'unhealthy', 'deep evidence older than three intervals is none');
});

test('three failures open the breaker for 10 s; then one try decides', async () => {
  const { probes, world, clock, signal, status } = createBench();
  world.upsert = 'bao_connection_failed';
  for (let index = 0; index < 3; index += 1) await probes.metadata('schedule', signal);
  assert.is(probes.breakerState(), 'open');
  world.calls.length = 0;
  await probes.metadata('schedule', signal);
  assert.equal(world.calls, []);
  assert.is(status().reasons, 'state_unavailable,status_stale,upsert_check_failed', 'a skipped probe is no news');
  await clock.advance(9_999);
  assert.is(probes.breakerState(), 'open');
  await clock.advance(1);
  assert.is(probes.breakerState(), 'half_open');
  await probes.metadata('schedule', signal);
  assert.equal(world.calls, ['upsert']);
  assert.is(probes.breakerState(), 'open', 'one more failure opened it again');
  world.upsert = undefined;
  await clock.advance(10_000);
  await probes.metadata('schedule', signal);
  assert.is(probes.breakerState(), 'closed');
});

test('bootstrap neither asks nor feeds the breaker, and ends without ending anything', async () => {
  const { probes, world, clock, cache } = createBench();
  world.upsert = 'bao_connection_failed';
  const controller = new AbortController();
  const settings = {
    graceTimeoutMs: 60_000,
    retryIntervalMs: 5_000,
    probeIntervalMs: 30_000,
    deepProbeIntervalMs: 300_000,
  };
  const running = createScheduler({ clock, random: () => 0.5, probes, cache, settings }).run(controller.signal);
  await clock.advance(59_999);
  assert.is(world.calls.length, 12);
  assert.is(probes.breakerState(), 'closed', 'twelve failures count for nothing');
  world.upsert = undefined;
  await clock.advance(60_000);
  assert.is(cache.verdict().healthz, 'ok');
  controller.abort();
  await running;
  assert.is(clock.timers(), 0);
});

test('a rotation is promoted after count and delay, without one unhealthy Status', async () => {
  const { probes, world, clock, cache, signal, both } = createBench();
  await both();
  world.profile = profile(2);
  const seen = new Set<string>();
  for (let tick = 0; tick < 9; tick += 1) {
    await clock.advance(30_000);
    await probes.metadata('schedule', signal);
    seen.add(cache.verdict().healthz);
    if (cache.active?.transitVersion === 1)
      assert.ok(cache.lookUp(snapshot(2).kubernetesKeyId), 'the newer one decrypts');
  }
  assert.is(cache.active?.transitVersion, 2);
  assert.is(world.promoted, 1);
  assert.equal([...seen], ['ok']);
});

test('a candidate that cannot encrypt is not promoted and Status stays', async () => {
  const { probes, world, clock, cache, signal, both } = createBench();
  await both();
  world.profile = profile(2);
  for (let tick = 0; tick < 12; tick += 1) {
    await clock.advance(30_000);
    world.encrypt = 'bao_permission_denied';
    await probes.metadata('schedule', signal);
    world.encrypt = undefined;
  }
  assert.is(cache.active?.transitVersion, 1);
  assert.is(cache.verdict().healthz, 'ok');
});

test('an unknown key_id causes at most two reads in an interval, shared by all who ask', async () => {
  const { probes, cache, world, clock, both, signal } = createBench();
  await both();
  const settings = { probeIntervalMs: 30_000, timeoutMs: 2_000 };
  const discovery = createDiscovery({ clock, cache, probes, settings, stopped: new AbortController().signal });
  const stranger = snapshot(5).kubernetesKeyId;
  world.calls.length = 0;
  const found = await Promise.all(Array.from({ length: 8 }, () => discovery.find(stranger, signal)));
  assert.equal(new Set(found), new Set([undefined]));
  for (let index = 0; index < 20; index += 1) await discovery.find(stranger, signal);
  assert.equal(world.calls, ['upsert', 'metadata']);
  discovery.forget();
  await discovery.find(stranger, signal);
  discovery.forget();
  await rejectsClass(discovery.find(stranger, signal), 'key_metadata_refresh_failed');
  assert.is(world.calls.length, 4);
  await clock.advance(30_001);
  world.profile = profile(2);
  assert.is((await discovery.find(snapshot(2).kubernetesKeyId, signal))?.state, 'pending');
});

test('the ninth waiter of a discovery is refused at once', async () => {
  const { probes, cache, clock, both, signal } = createBench();
  await both();
  const settings = { probeIntervalMs: 30_000, timeoutMs: 2_000 };
  const discovery = createDiscovery({ clock, cache, probes, settings, stopped: new AbortController().signal });
  const waiting = Array.from({ length: 8 }, () => discovery.find(snapshot(5).kubernetesKeyId, signal));

  await rejectsClass(discovery.find(snapshot(6).kubernetesKeyId, signal), 'key_metadata_refresh_failed');
  await Promise.all(waiting);
});

const readyFacts = (cache: StatusCache, change: Partial<ReadyFacts> = {}): ReadyFacts => ({
  verdict: cache.verdict(),
  breaker: 'closed',
  nextProbeAtUnixMs: undefined,
  warnings: [],
  ...change,
});
const readyOf = (cache: StatusCache, change: Partial<ReadyFacts> = {}) => {
  const { status, body } = readyBody(readyFacts(cache, change));
  return { status, ...JSON.parse(body) };
};

test('/ready is 200 only while healthy and not stopping, and lists reasons in their order', async () => {
  const { both, cache } = createBench();
  await both();
  assert.is(readyOf(cache).status, 'ok');
  assert.is(readyBody(readyFacts(cache)).status, 200);
  cache.isSocketLost = true;
  assert.equal([readyBody(readyFacts(cache)).status, readyOf(cache).reasons], [200, ['socket_lost']]);
  cache.isShuttingDown = true;
  assert.equal([readyBody(readyFacts(cache)).status, readyOf(cache).reasons], [503, ['socket_lost', 'shutting_down']]);
  assert.is(readyBody(undefined).status, 503);
  assert.is(readyOf(cache, { breaker: 'half_open' }).circuit_breaker, 'half_open');
});

test('a key that blocks encryption was answered well: failures before it do not count with those after it', async () => {
  const { both, world, probes, signal } = createBench();
  await both();
  world.upsert = 'bao_connection_failed';
  await probes.metadata('schedule', signal);
  await probes.metadata('schedule', signal);
  world.upsert = undefined;
  world.profile = profile(2, { minEncryptionVersion: 2 });
  await probes.metadata('schedule', signal);
  assert.ok(probes.paceOf('metadata').retryAtMs !== undefined, 'it failed all the same');
  world.upsert = 'bao_connection_failed';
  await probes.metadata('schedule', signal);

  assert.is(probes.breakerState(), 'closed');
});

test('no deep probe is made while the key blocks encryption, and none before there is a key', async () => {
  const { both, world, probes, signal } = createBench();
  assert.is(await probes.deep('schedule', signal), false);
  assert.equal(world.calls, []);
  await both();
  world.profile = profile(2, { minEncryptionVersion: 2 });
  await probes.metadata('schedule', signal);
  world.calls.length = 0;
  assert.is(await probes.deep('schedule', signal), false);
  assert.equal(world.calls, []);
});

test('a deep probe that the stop ends is no failure of the key', async () => {
  const { both, world, probes, cache } = createBench();
  await both();
  const stop = new AbortController();
  Object.defineProperty(world, 'encrypt', {
    get: () => {
      stop.abort();
      return 'bao_permission_denied';
    },
  });
  assert.not.ok(await probes.deep('schedule', stop.signal));

  assert.ok(cache.isDeepGood);
});

test('another look at a missing right does not put off the probe that was planned for it', async () => {
  const { both, world, probes, clock, signal } = createBench();
  world.rights = ['missing_encrypt'];
  await both();
  const { retryAtMs } = probes.paceOf('deep');
  assert.ok(retryAtMs !== undefined);
  await clock.advance(5_000);
  await probes.metadata('schedule', signal);

  assert.is(probes.paceOf('deep').retryAtMs, retryAtMs);
});

test.run();
