// Health over thousands of random orders of answers, silences, calls, logins, promotions and time. Each rule is a sentence; the seed
// of a walk that breaks one is in the message, and HEALTH_SEED=n walks that one alone.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { ProbeKind } from '../../../../plugin/probes/probe-event.ts';
import type { ErrorClass } from '../../../../shared/errors/error.ts';
import {
  createHealthWorld,
  type HealthWorld,
  isWrongAnswer,
  limits,
  operations,
  shown,
} from '../../../support/health-world.ts';

const walks = 2_000;
const stepsPerWalk = 40;
const mendedWithinMs = 15_000;
const kinds: readonly ProbeKind[] = ['metadata', 'deep'];

const wrongAnswers: readonly ErrorClass[] = [
  'bao_permission_denied',
  'bao_not_found',
  'auth_rejected',
  'bao_tls_failed',
];
const noAnswers = ['bao_connection_failed', 'bao_sealed', 'hangs'] as const;

/** mulberry32: small, and the same everywhere. */
function createRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

type FailedDecrypt = { readonly atMs: number; readonly name: string };
type Obligation = { readonly atMs: number; readonly untilMs: number };

type Walk = HealthWorld & {
  readonly random: () => number;
  readonly pick: <T>(list: readonly T[]) => T;
  readonly failedDecrypts: FailedDecrypt[];
  obligations: Obligation[];
};

function startWalk(seed: number): Walk {
  const random = createRandom(seed);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  return { ...createHealthWorld(random), random, pick, failedDecrypts: [], obligations: [] };
}

const ageOf = ({ clock }: Walk, atMs: number | undefined) =>
  atMs === undefined ? Number.POSITIVE_INFINITY : clock.nowMs() - atMs;

/** The rules that hold at every moment. */
function checkNow(walk: Walk): void {
  const { cache, books, world, evidence, clock } = walk;
  const verdict = cache.verdict();
  const isFatal = world.seen.some((right) => right === 'missing_encrypt' || right === 'missing_decrypt');
  const isFresh = ageOf(walk, books.metadata.goodAtMs) <= limits.statusMaxStalenessMs;
  const isDeepFresh = ageOf(walk, books.deep.goodAtMs) <= limits.deepMaxAgeMs;
  const isWrong = kinds.some((kind) => books[kind].isWrong);
  const isWell = cache.state !== undefined && isFresh && isDeepFresh && !isWrong && !isFatal;
  assert.is(
    verdict.healthz,
    isWell ? 'ok' : 'unhealthy',
    'healthy is: both kinds were good, recently enough, with no wrong answer of their own kind since, and both rights',
  );
  const isAnyFailing = kinds.some((kind) => books[kind].isFailing) || isFatal;
  assert.is(verdict.cause !== undefined, isAnyFailing, 'a cause is named exactly while something fails');
  if (verdict.cause !== undefined && cache.state !== undefined) {
    assert.ok(verdict.reasons.includes(verdict.cause.reason), 'the cause is one of the reasons');
    assert.ok(verdict.cause.sinceUnixMs + verdict.cause.ageMs <= clock.wallMs() + 1, 'it has lasted since it began');
  }
  if (evidence.decryptFailing() !== undefined) {
    const lastMs = walk.failedDecrypts.at(-1)?.atMs;
    assert.ok(ageOf(walk, lastMs) <= 60_000 && hasBurst(walk, Number.POSITIVE_INFINITY), 'told only of a real burst');
    assert.ok(!books.deep.isFailing, 'told only while the deep probe passes');
  } else {
    const isProven = !books.deep.isFailing && (books.deep.goodAtMs ?? -1) >= firstOfWindow(walk);
    assert.not(isProven && hasBurst(walk, 10_000), 'three distinct Decrypts that fail in 10 s are told');
  }
}

const firstOfWindow = ({ failedDecrypts, clock }: Walk) =>
  failedDecrypts.find(({ atMs }) => clock.nowMs() - atMs <= 10_000)?.atMs ?? Number.POSITIVE_INFINITY;

/** Whether three distinct ones failed within some 10 s of the last `withinMs`. */
function hasBurst({ failedDecrypts, clock }: Walk, withinMs: number): boolean {
  const recent = failedDecrypts.filter(({ atMs }) => clock.nowMs() - atMs <= withinMs);
  return recent.some(({ atMs: fromMs }) => {
    const together = recent.filter(({ atMs }) => atMs >= fromMs && atMs - fromMs <= 10_000);
    return new Set(together.map(({ name }) => name)).size >= 3;
  });
}

/** Moves in small steps, so that nothing wrong can hide between two looks. */
async function pass(walk: Walk, ms: number): Promise<void> {
  const { clock } = walk;
  const endMs = clock.nowMs() + ms;
  while (clock.nowMs() < endMs) {
    await clock.runUntil(Math.min(endMs, clock.nowMs() + 500 + 1_000 * walk.random()));
    checkNow(walk);
    checkObligations(walk);
  }
}

function checkObligations(walk: Walk): void {
  const { clock, books, cache } = walk;
  walk.obligations = walk.obligations.filter(({ atMs }) => !books.deep.starts.some((start) => start.atMs >= atMs));
  const isPossible = cache.state !== undefined && !cache.verdict().reasons.includes('encryption_blocked');
  const late = walk.obligations.find(({ untilMs }) => clock.nowMs() > untilMs);
  assert.not(isPossible && late !== undefined, 'a call with a wrong answer brings a deep probe');
}

async function callOnce(walk: Walk): Promise<void> {
  const method = walk.pick(['encrypt', 'decrypt'] as const);
  const name = walk.pick(['a', 'b', 'c', 'd', 'e']);
  const isDamaged = method === 'decrypt' && walk.random() < 0.4;
  const nowMs = walk.clock.nowMs();
  const isHanging = walk.faults[method] === 'hangs' && !isDamaged;
  const calling = walk.call(method, name, isDamaged);
  if (isHanging) await pass(walk, 2_000);
  const { error, isChanged } = await calling;
  assert.not(isChanged, 'a call changes no verdict');
  if (error === undefined || !isWrongAnswer(error)) return;
  // A probe that runs may take 2 s at each of three requests; after failed ones the pause comes first.
  const isPaused = walk.probes.breakerState() !== 'closed' || walk.books.deep.isFailing;
  walk.obligations.push({ atMs: nowMs, untilMs: nowMs + (isPaused ? 12_500 + 6_000 : 5_000) + 6_000 });
  if (method === 'decrypt') walk.failedDecrypts.push({ atMs: nowMs, name });
}

/** A probe that somebody else starts, as a discovery does. */
async function probeOnce(walk: Walk): Promise<void> {
  const { probes, world, clock } = walk;
  const [skips, before] = [world.skips, shown(walk)];
  const signal = new AbortController().signal;
  const kind = walk.pick(kinds);
  const done = kind === 'deep' ? probes.deep('schedule', signal) : probes.metadata('discovery', signal, 'discover');
  let isDone = false;
  void done.then(() => {
    isDone = true;
  });
  await clock.runUntil(clock.nowMs());
  if (world.skips > skips && isDone) assert.is(shown(walk), before, 'a skipped probe changes nothing');
  while (!isDone) await pass(walk, 1_000);
}

function mend({ faults, world }: Walk): void {
  for (const name of operations) delete faults[name];
  world.isDeletionAllowed = false;
  world.missing = [];
}

async function step(walk: Walk): Promise<void> {
  const { faults, world, pick, random, clock } = walk;
  // What the step before woke begins first.
  await clock.runUntil(clock.nowMs());
  const drawn = random();
  if (drawn < 0.15) faults[pick(operations)] = pick(wrongAnswers);
  else if (drawn < 0.25) faults[pick(operations)] = pick(noAnswers);
  else if (drawn < 0.3) world.isDeletionAllowed = !world.isDeletionAllowed;
  else if (drawn < 0.35)
    world.missing = pick([[], ['missing_decrypt'], ['extra_export'], ['missing_encrypt', 'extra_root']]);
  else if (drawn < 0.42) delete faults[pick(operations)];
  else if (drawn < 0.47) mend(walk);
  else if (drawn < 0.49) world.latestVersion = Math.min(4, world.latestVersion + 1);
  else if (drawn < 0.55) walk.evidence.answeredWell();
  else if (drawn < 0.65) await probeOnce(walk);
  else if (drawn < 0.85) await callOnce(walk);
  else await pass(walk, 60_000 * random() * random());
  checkNow(walk);
}

/** Probes that calls bring forward: never two within 5 s. */
function checkSpacing({ books }: Walk): void {
  for (const kind of kinds) {
    const forward = books[kind].starts.filter(({ isForward }) => isForward).map(({ atMs }) => atMs);
    forward.forEach((atMs, index) => {
      const sinceMs = atMs - (forward[index - 1] ?? Number.NEGATIVE_INFINITY);
      assert.ok(sinceMs > 4_999, 'calls bring at most one probe forward in 5 s');
    });
  }
}

async function walkOnce(seed: number): Promise<HealthWorld> {
  const walk = startWalk(seed);
  const stop = new AbortController();
  void walk.scheduler.run(stop.signal);
  await walk.clock.runUntil(0);
  for (let count = 0; count < stepsPerWalk; count += 1) await step(walk);
  mend(walk);
  // Whether OpenBao tells our rights is not needed for service: it may go on refusing, or failing to.
  walk.faults.rights = walk.pick([undefined, 'bao_permission_denied', 'bao_unavailable'] as const);
  await pass(walk, mendedWithinMs);
  assert.is(walk.cache.verdict().healthz, 'ok', 'what is mended shows within 15 s, without a call');
  checkSpacing(walk);
  stop.abort();
  return walk;
}

test('the rules of health hold in every order of answers, silences, calls and time', async () => {
  const only = process.env['HEALTH_SEED'];
  const seen = { skips: 0, forward: 0, rightsLooks: 0 };
  for (
    let seed = only === undefined ? 1 : Number(only);
    seed <= (only === undefined ? walks : Number(only));
    seed += 1
  ) {
    try {
      const { world, books } = await walkOnce(seed);
      seen.skips += world.skips;
      seen.rightsLooks += world.rightsLooks;
      seen.forward += books.deep.starts.filter(({ isForward }) => isForward).length;
    } catch (error) {
      throw new Error(`HEALTH_SEED=${seed}: ${error instanceof Error ? error.message : error}`, { cause: error });
    }
  }
  if (only !== undefined) return;
  // The walks come to the places that the rules are about.
  assert.ok(seen.skips > 500 && seen.forward > 1_000 && seen.rightsLooks > 2_000, JSON.stringify(seen));
});

test.run();
