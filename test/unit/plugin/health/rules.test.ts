// Single rules of health that a whole provider shows late or never: what a call proves, what counts for a breaker, who waits for
// whom, and when the next probe comes.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createHealthReporter } from '../../../../plugin/health/reporter.ts';
import { StatusCache } from '../../../../plugin/health/status-cache.ts';
import type { RightFinding } from '../../../../plugin/keys/rights.ts';
import { afterFailure, closedBreaker } from '../../../../plugin/probes/breaker.ts';
import { createCallEvidence } from '../../../../plugin/probes/call-evidence.ts';
import { dueAtMs, freshPace } from '../../../../plugin/probes/pace.ts';
import { failedAt, isOfOpenBao, metadataFailure } from '../../../../plugin/probes/probe-failure.ts';
import { RightsLook } from '../../../../plugin/probes/rights-look.ts';
import { roundTrip } from '../../../../plugin/probes/round-trip.ts';
import { createScheduler } from '../../../../plugin/probes/scheduler.ts';
import { ProbeTurn } from '../../../../plugin/probes/turn.ts';
import type { HealthMessage } from '../../../../shared/channel/messages.ts';
import { type ErrorClass, ProviderError } from '../../../../shared/errors/error.ts';
import { readClock } from '../../../../shared/time/age.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';
import { rejectsClass } from '../../../support/throws.ts';
import { firstState, nextState, snapshot } from '../../../support/vectors.ts';

const forever = new AbortController().signal;

test('what the server asks to wait is kept, but no longer than the pause', () => {
  assert.is(afterFailure(closedBreaker, 1_000, 11_000, 4_000).openUntilMs, 5_000);
  assert.is(afterFailure(closedBreaker, 1_000, 11_000, 60_000).openUntilMs, 11_000);
});

test('no probe is due while its breaker is open, whoever wants it', () => {
  const breaker = { failures: 3, openUntilMs: 10_000 };
  assert.is(dueAtMs({ ...freshPace, breaker, startedAtMs: 0 }, 7_000, true), 10_000);
});

function createEvidence() {
  const clock = createFakeClock();
  const cache: { deepProvenAtMs: number | undefined } = { deepProvenAtMs: undefined };
  const wanted: string[] = [];
  const evidence = createCallEvidence({
    clock,
    cache,
    probes: { answeredWell: () => [], wantRights: () => void wanted.push('rights') },
    scheduler: { want: (kind) => void wanted.push(kind) },
  });
  const fail = (name: string, errorClass: ErrorClass = 'bao_decrypt_failed') =>
    evidence.call({ method: 'decrypt', identity: () => name, error: new ProviderError(errorClass, 'x') });
  return { clock, cache, wanted, evidence, fail };
}

test('a deep probe that began behind the first of three failed Decrypts tells them, one that began before does not', async () => {
  const { clock, cache, evidence, fail } = createEvidence();
  await clock.advance(1_000);
  for (const name of ['a', 'b', 'c']) {
    fail(name);
    await clock.advance(1_000);
  }
  cache.deepProvenAtMs = 999;
  assert.is(evidence.decryptFailing(), undefined);
  cache.deepProvenAtMs = 1_000;
  assert.equal(evidence.decryptFailing(), { class: 'decrypt_failed' });
});

test('three failed Decrypts further apart than ten seconds are not told', async () => {
  const { clock, cache, evidence, fail } = createEvidence();
  for (const name of ['a', 'b', 'c']) {
    fail(name);
    await clock.advance(6_000);
  }
  cache.deepProvenAtMs = clock.nowMs();
  assert.is(evidence.decryptFailing(), undefined);
  fail('d');
  await clock.advance(1_000);
  assert.is(evidence.decryptFailing(), undefined);
  fail('e');
  cache.deepProvenAtMs = clock.nowMs();
  assert.ok(evidence.decryptFailing());
});

test('a call that is denied asks for a look at the rights, one that does not decrypt asks for none', () => {
  const { wanted, fail } = createEvidence();
  fail('a');
  assert.equal(wanted, ['deep']);
  fail('b', 'bao_permission_denied');
  assert.equal(wanted, ['deep', 'rights', 'deep']);
});

test('a step that finds a wrong profile is called by the profile, any other by its step', () => {
  const reasonAt = (errorClass: ErrorClass): string => {
    try {
      const fail: (error: unknown) => void = failedAt('metadata_read_failed');
      fail(new ProviderError(errorClass, 'x'));
    } catch (error) {
      return metadataFailure(error).reason;
    }
    return 'passes';
  };
  assert.is(reasonAt('profile_invalid'), 'profile_invalid');
  assert.is(reasonAt('bao_unavailable'), 'metadata_read_failed');
});

test('a probe that took too long counts for the breaker, a state that could not be saved does not', () => {
  assert.ok(isOfOpenBao(new ProviderError('timeout', 'x')));
  assert.not.ok(isOfOpenBao(new ProviderError('state_save_failed', 'x')));
});

test('who leaves the line at the gate lets nobody past the one that runs', async () => {
  const turn = new ProbeTurn();
  const order: string[] = [];
  const hold = Promise.withResolvers<void>();
  const leaving = new AbortController();
  const first = turn.take(async () => {
    await hold.promise;
    order.push('first ends');
  });
  const second = turn.take(async () => void order.push('second'), leaving.signal);
  const third = turn.take(async () => void order.push('third'));
  leaving.abort(new ProviderError('canceled', 'x'));
  await rejectsClass(second, 'canceled');
  hold.resolve();
  await Promise.all([first, third]);

  assert.equal(order, ['first ends', 'third']);
});

for (const [sizeBytes, isGood] of [
  [1_023, true],
  [1_024, false],
] as const) {
  test(`a deep probe ${isGood ? 'passes' : 'fails'} with a ciphertext of ${sizeBytes} bytes`, async () => {
    const bytes = Buffer.alloc(32, 7);
    const transit = { encrypt: async () => 'x'.repeat(sizeBytes), decrypt: async () => bytes };
    const trip = roundTrip({ transit, randomBytes: () => bytes }, 1, forever);
    if (isGood) await trip;
    else await rejectsClass(trip, 'deep_probe_invalid');
  });
}

function createLook(read: (signal: AbortSignal) => Promise<readonly RightFinding[]>) {
  const clock = createFakeClock();
  const cache = new StatusCache(clock, { statusMaxStalenessMs: 120_000, deepMaxAgeMs: 900_000 });
  const observed: unknown[] = [];
  const look = new RightsLook({ cache, read, record: (_, error) => observed.push(error) });
  return { cache, look, observed };
}

test('rights are looked at with every second good metadata probe, the first included', async () => {
  let looks = 0;
  const { look } = createLook(async () => {
    looks += 1;
    return [];
  });
  const seen: number[] = [];
  for (let probe = 0; probe < 4; probe += 1) {
    look.metadataRead();
    await look.look(forever);
    seen.push(looks);
  }

  assert.equal(seen, [1, 1, 2, 2]);
});

test('a look at the rights that the stop ends finds and tells nothing', async () => {
  const stop = new AbortController();
  const { cache, look, observed } = createLook(async () => {
    stop.abort();
    throw new ProviderError('bao_permission_denied', 'x');
  });
  look.want();
  await look.look(stop.signal);

  assert.equal([cache.rightFindings, observed], [[], []]);
});

function createCache() {
  const clock = createFakeClock();
  const cache = new StatusCache(clock, { statusMaxStalenessMs: 120_000, deepMaxAgeMs: 900_000 });
  cache.publish(firstState(), readClock(clock));
  cache.deepPassed(snapshot(1).kubernetesKeyId, readClock(clock));
  return { clock, cache };
}

test('a deep probe of another key than the active one proves nothing', () => {
  const clock = createFakeClock();
  const cache = new StatusCache(clock, { statusMaxStalenessMs: 120_000, deepMaxAgeMs: 900_000 });
  cache.publish(firstState(), readClock(clock));
  cache.deepPassed(snapshot(2).kubernetesKeyId, readClock(clock));

  assert.not.ok(cache.isDeepGood);
});

test('a right has been missing since the first look that missed it', async () => {
  const { clock, cache } = createCache();
  cache.rightsSeen(['missing_encrypt']);
  await clock.advance(30_000);
  cache.rightsSeen(['missing_encrypt']);

  assert.is(cache.verdict().cause?.ageMs, 30_000);
});

test('bookkeeping that could be saved again is no longer told as unsaved', () => {
  const { clock, cache } = createCache();
  cache.confirmUnsaved(readClock(clock));
  assert.ok(cache.verdict().isPersistenceDegraded);
  cache.publish(nextState(firstState(), [snapshot(1)]), readClock(clock));

  assert.not.ok(cache.verdict().isPersistenceDegraded);
});

test('a denial that names its own finding keeps it, whatever the look at the rights found', () => {
  const { cache } = createCache();
  const cause = { class: 'permission_denied', finding: 'own_finding' };
  cache.metadataFailed({ reason: 'metadata_read_failed', cause, kind: 'wrong_answer' });
  cache.rightsSeen(['missing_metadata_read']);

  assert.is(cache.verdict().cause?.finding, 'own_finding');
});

test('the supervisor is told 16 warnings of 64 characters at most', async () => {
  const { clock, cache } = createCache();
  const sent: HealthMessage[] = [];
  const warning = { warning: 'credential_refused', name: 'jwt', class: 'auth_rejected' } as const;
  const reporter = createHealthReporter({
    clock,
    cache,
    calls: { times: () => ({}) },
    isCredentialEnding: () => false,
    warnings: () => Array.from({ length: 20 }, () => warning),
    send: (message) => sent.push(message),
  });
  await clock.advance(0);
  reporter.stop();

  assert.is(sent[0]?.warnings?.length, 16);
});

const settings = {
  graceTimeoutMs: 60_000,
  retryIntervalMs: 5_000,
  probeIntervalMs: 30_000,
  deepProbeIntervalMs: 300_000,
};

/** A schedule over played probes; each metadata probe is noted with its moment and its trigger. */
function createSchedule(metadata: () => Promise<boolean>, reasons: readonly string[] = []) {
  const clock = createFakeClock();
  const tried: string[] = [];
  const stop = new AbortController();
  const scheduler = createScheduler({
    clock,
    random: () => 0.25,
    cache: { verdict: () => ({ reasons }) } as unknown as StatusCache,
    probes: {
      metadata: (trigger) => {
        tried.push(`${trigger} ${clock.nowMs()}`);
        return metadata();
      },
      deep: async () => true,
      isDeepDue: () => false,
      isTooOld: () => false,
      paceOf: () => freshPace,
    },
    settings,
  });
  return { clock, tried, stop, running: scheduler.run(stop.signal) };
}

test('the first tick comes after a random part of the interval, and a slow probe drops ticks without moving the others', async () => {
  let slowMs = 0;
  const bench = createSchedule(async () => {
    if (slowMs > 0) await new Promise<void>((resolve) => bench.clock.after(slowMs, resolve));
    return true;
  });
  await bench.clock.settle();
  slowMs = 40_000;
  await bench.clock.advance(100_000);
  bench.stop.abort();

  assert.equal(bench.tried, ['bootstrap 0', 'schedule 7500', 'schedule 67500']);
});

test('a key that blocks encryption ends the bootstrap: only an administrator helps', async () => {
  const bench = createSchedule(async () => false, ['encryption_blocked']);
  await bench.clock.advance(7_500);
  bench.stop.abort();

  assert.equal(bench.tried, ['bootstrap 0', 'schedule 7500']);
});

test.run();
