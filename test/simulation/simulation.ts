// Many nodes and one OpenBao in virtual time: a common start, an outage, its end with every token forgotten. Each node is the
// product's own token manager, authorized requests, Transit calls, probes, breakers and scheduler; the network is played.

import { createAuthorizedSend } from '../../plugin/auth/authorized.ts';
import { Tokens } from '../../plugin/auth/tokens.ts';
import { StatusCache } from '../../plugin/health/status-cache.ts';
import type { Http, HttpReply } from '../../plugin/openbao/client.ts';
import { loginOperations } from '../../plugin/openbao/operations.ts';
import { Probes } from '../../plugin/probes/probes.ts';
import { createScheduler } from '../../plugin/probes/scheduler.ts';
import { createTransit } from '../../plugin/transit/transit.ts';
import { ProviderError } from '../../shared/errors/error.ts';
import { metadata } from '../support/metadata.ts';
import { fingerprint, identity } from '../support/vectors.ts';
import { createVirtualClock, type VirtualClock } from './virtual-clock.ts';

export type Arrival = 'login' | 'metadata' | 'decrypt';
export type Phase = { readonly name: string; readonly fromSeconds: number; readonly toSeconds: number };

export const phases: readonly Phase[] = [
  { name: 'common start', fromSeconds: 0, toSeconds: 60 },
  { name: 'calm', fromSeconds: 120, toSeconds: 300 },
  { name: 'outage', fromSeconds: 330, toSeconds: 600 },
  { name: 'its end, all tokens forgotten', fromSeconds: 600, toSeconds: 690 },
  { name: 'calm again', fromSeconds: 720, toSeconds: 900 },
];
const outage = { fromMs: 300_000, toMs: 600_000 };
const endMs = 900_000;

export type Simulated = {
  readonly nodes: number;
  /** Arrivals in each second. */
  readonly arrivals: Readonly<Record<Arrival, readonly number[]>>;
  /** Seconds from the end of the outage until every node was healthy again. */
  readonly recoveredAfterSeconds: number;
};

const latencyMs = 5;
/** What an API server asks: one Decrypt for each of its seeds at its start, then one now and then. */
const seedsAtStart = 20;
const secondsBetweenDecrypts = 5;

type World = {
  readonly clock: VirtualClock;
  readonly count: (arrival: Arrival) => void;
  /** The generation of tokens that OpenBao knows. */
  generation: number;
};

function createDice(seed: number): () => number {
  let state = seed * 2_654_435_761 + 1;
  return () => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) >>> 0;
    return state / 4_294_967_296;
  };
}

const ok = (data: unknown): HttpReply => ({
  status: 200,
  contentType: 'application/json',
  retryAfter: '',
  date: '',
  body: Buffer.from(JSON.stringify({ data })),
});
const denied: HttpReply = {
  status: 403,
  contentType: 'application/json',
  retryAfter: '',
  date: '',
  body: Buffer.from('{"errors":["permission denied"]}'),
};

/** OpenBao and the way to it, as one node sees it. */
function createNetwork(world: World): Http {
  const { clock } = world;
  const isAway = () => clock.nowMs() >= outage.fromMs && clock.nowMs() < outage.toMs;
  const wait = (ms: number) => new Promise<void>((resolve) => clock.after(ms, resolve));
  let sealed = '';
  return {
    send: async ({ operation, token, body }) => {
      if (operation.label === 'jwt_login') world.count('login');
      if (operation.label === 'transit_disable_upsert_read') world.count('metadata');
      if (operation.label === 'transit_decrypt') world.count('decrypt');
      await wait(latencyMs);
      if (isAway()) throw new ProviderError('bao_connection_failed', 'no connection to OpenBao');
      if (operation.label === 'jwt_login') return ok(undefined);
      if (token !== tokenOf(world.generation)) return denied;
      if (operation.label === 'transit_disable_upsert_read') return ok({ disable_upsert: true });
      if (operation.label === 'transit_metadata_read') return ok(metadata(1));
      if (operation.label === 'transit_decrypt') return ok({ plaintext: sealed || 'AAAA' });
      sealed = String((body as Record<string, unknown>)['plaintext']);
      return ok({ ciphertext: 'vault:v1:AAAA', key_version: 1 });
    },
    handshake: async () => {},
    close: async () => {},
  };
}

const tokenOf = (generation: number) => `token-${generation}`;

function startNode(world: World, seed: number, signal: AbortSignal): StatusCache {
  const { clock } = world;
  const random = createDice(seed + 1);
  const http = createNetwork(world);
  const tokens = new Tokens({
    clock,
    random,
    login: async (bound) => {
      await http.send({
        operation: loginOperations.jwt,
        path: '',
        timeoutMs: 5_000,
        signal: bound,
      });
      return { token: tokenOf(world.generation), leaseMs: 1_800_000, isRenewable: true };
    },
    renew: async () => ({ token: tokenOf(world.generation), leaseMs: 1_800_000, isRenewable: true }),
    isAlive: async (token) => token === tokenOf(world.generation),
    settings: { loginBeforeTokenExpiryMs: 300_000, loginTimeoutMs: 5_000 },
    record: () => {},
  });
  const send = createAuthorizedSend({
    http: () => http,
    tokens,
    timeoutMs: 2_000,
    nowMs: clock.nowMs,
    record: () => {},
  });
  const transit = createTransit('transit', identity.transitKeyName, send);
  const cache = new StatusCache(clock, { statusMaxStalenessMs: 120_000, deepMaxAgeMs: 900_000 });
  const probes = new Probes({
    clock,
    random,
    readRights: async () => [],
    transit,
    cache,
    commit: async () => ({ outcome: 'saved', onDisk: 'attempted' }),
    randomBytes: (size) => Buffer.alloc(size, 7),
    record: () => {},
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
  const settings = {
    graceTimeoutMs: 60_000,
    retryIntervalMs: 5_000,
    probeIntervalMs: 30_000,
    deepProbeIntervalMs: 300_000,
  };
  void createScheduler({ clock, random, probes, cache, settings }).run(signal);
  const decrypt = () =>
    void transit.decrypt({ ciphertext: 'vault:v1:AAAA', aad: Buffer.from('a') }).catch(() => undefined);
  for (let seedNumber = 0; seedNumber < seedsAtStart; seedNumber += 1) clock.after(seedNumber * 50, decrypt);
  const again = () => {
    if (signal.aborted) return;
    decrypt();
    clock.after(secondsBetweenDecrypts * 1000, again);
  };
  clock.after(secondsBetweenDecrypts * 1000 * random(), again);
  return cache;
}

/** Fifteen minutes of virtual time. */
export async function simulate(nodes: number): Promise<Simulated> {
  const clock = createVirtualClock();
  const seconds = endMs / 1000;
  const empty = () => Array.from({ length: seconds }, () => 0);
  const arrivals = { login: empty(), metadata: empty(), decrypt: empty() };
  const count = (arrival: Arrival) => {
    const second = Math.floor(clock.nowMs() / 1000);
    arrivals[arrival][second] = (arrivals[arrival][second] ?? 0) + 1;
  };
  const world: World = { clock, count, generation: 1 };
  const stop = new AbortController();
  const caches = Array.from({ length: nodes }, (_, index) => startNode(world, index, stop.signal));
  await clock.runUntil(outage.toMs - 1);
  world.generation = 2;
  let recoveredAfterSeconds = Number.NaN;
  for (let second = outage.toMs / 1000; second < seconds; second += 1) {
    await clock.runUntil((second + 1) * 1000 - 1);
    const areAllWell = caches.every((cache) => cache.verdict().healthz === 'ok' && cache.isMetadataGood);
    if (areAllWell && Number.isNaN(recoveredAfterSeconds)) recoveredAfterSeconds = second + 1 - outage.toMs / 1000;
  }
  stop.abort();
  return { nodes, arrivals, recoveredAfterSeconds };
}

export type Load = { readonly peak: number; readonly mean: number };

/** Arrivals a second in a phase. */
export function loadOf({ arrivals }: Simulated, arrival: Arrival, { fromSeconds, toSeconds }: Phase): Load {
  const slice = arrivals[arrival].slice(fromSeconds, toSeconds);
  const total = slice.reduce((sum, one) => sum + one, 0);
  return { peak: Math.max(...slice), mean: total / slice.length };
}

/** The table of docs/performance.md. */
export function simulationTable(runs: readonly Simulated[]): string {
  const rows = runs.flatMap((run) =>
    phases.map((phase) => {
      const cells = (['login', 'metadata', 'decrypt'] as const).map((arrival) => {
        const { peak, mean } = loadOf(run, arrival, phase);
        return `${peak} / ${mean.toFixed(2)}`;
      });
      return `| ${run.nodes} | ${phase.name} | ${cells.join(' | ')} |\n`;
    }),
  );
  const recovered = runs.map((run) => `${run.nodes} nodes: ${run.recoveredAfterSeconds} s`).join(', ');
  return `| Nodes | Phase | Logins, peak / mean a second | Metadata probes | Decrypts |\n|---|---|---|---|---|\n${rows.join('')}\nAll healthy again after the outage: ${recovered}.\n`;
}
