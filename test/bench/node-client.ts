// The client of a machine without Go: grpc-js and our own HTTP client, in this process. It costs more than the Go client and shares its
// event loop with whoever drives it, so its figures are lower, and no promise of docs/performance.md is about them.

import { randomBytes } from 'node:crypto';
import { createTrust } from '../../plugin/http/tls.ts';
import { createHttp, type Http } from '../../plugin/openbao/client.ts';
import { readReply } from '../../plugin/openbao/response.ts';
import { clock, random } from '../../plugin/system.ts';
import { createTransit, type Transit } from '../../plugin/transit/transit.ts';
import { createKmsClient, type KmsClient } from '../support/kms-client.ts';
import type { Sealed } from '../support/provider.ts';
import type { Addresses, LoadClient, Measured, Plan, Target } from './load.ts';
import { percentile } from './statistics.ts';

type RawSealed = { readonly ciphertext: string };

/** As long as the associated data of the provider. */
const aad = randomBytes(527);

function rawClient({ address, ca, mountPath, keyName, token }: Addresses): { http: Http; transit: Transit } {
  const trust = createTrust({ ca: Buffer.from(ca), tlsServerName: 'localhost' });
  const http = createHttp({ address, namespace: '', userAgent: 'bench', trust, clock, random, connections: 32 });
  const transit = createTransit(mountPath, keyName, async ({ operation, path, body }) =>
    readReply(operation, await http.send({ operation, path, body, token, timeoutMs: 5_000 })),
  );
  return { http, transit };
}

type Seeds = { readonly sealed: () => Sealed; readonly raw: () => RawSealed };

/** One after the other, from the first again after the last. */
function turnsOf<T>(values: readonly T[]): () => T {
  let turn = 0;
  return () => {
    turn += 1;
    const value = values[turn % values.length];
    if (value === undefined) throw new Error('nothing is prepared');
    return value;
  };
}

function callOf(target: Target, client: KmsClient, transit: Transit, seeds: Seeds, timeoutMs: number) {
  const calls: Readonly<Record<Target, () => Promise<unknown>>> = {
    status: () => client.status(timeoutMs),
    encrypt: () => client.encrypt(randomBytes(32), 'bench', timeoutMs),
    decrypt: () => client.decrypt(seeds.sealed(), 'bench', timeoutMs),
    'raw-encrypt': () => transit.encrypt({ keyVersion: 1, plaintext: randomBytes(32), aad }),
    'raw-decrypt': () => transit.decrypt({ ciphertext: seeds.raw().ciphertext, aad }),
  };
  return calls[target]();
}

export function createNodeClient(addresses: Addresses): LoadClient {
  const { http, transit } = rawClient(addresses);
  const connections = [createKmsClient(addresses.socketPath)];
  const [first] = connections as [KmsClient];
  const sealed: Sealed[] = [];
  const raw: RawSealed[] = [];
  const seeds: Seeds = { sealed: turnsOf(sealed), raw: turnsOf(raw) };
  return {
    kind: 'grpc-js in this process',
    prepare: async (count) => {
      for (let made = 0; made < count; made += 1) {
        const plaintext = randomBytes(32);
        sealed.push(await first.encrypt(plaintext));
        raw.push({ ciphertext: await transit.encrypt({ keyVersion: 1, plaintext, aad }) });
      }
    },
    measure: (plan) => {
      const wanted = plan.connections ?? 1;
      while (connections.length < wanted) connections.push(createKmsClient(addresses.socketPath));
      for (const spare of connections.splice(wanted)) spare.close();
      return measure(plan, (worker) =>
        callOf(plan.target, connections[worker % wanted] ?? first, transit, seeds, plan.timeoutMs ?? 3_000),
      );
    },
    first: async (wanted) => {
      for (;;) {
        const client = createKmsClient(addresses.socketPath);
        const answer = await client.status(1_000).catch(() => undefined);
        client.close();
        if (answer !== undefined && (wanted === 'answer' || answer.healthz === 'ok')) return;
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    },
    close: async () => {
      for (const client of connections) client.close();
      await http.close();
    },
  };
}

function measure(plan: Plan, call: (worker: number) => Promise<unknown>) {
  const over = { is: false };
  const begun = Promise.withResolvers<void>();
  const run = async (): Promise<Measured> => {
    for (let warm = 0; warm < (plan.warmUp ?? 0); warm += 1) await call(warm).catch(() => undefined);
    begun.resolve();
    return work(plan, call, over);
  };
  return {
    begun: begun.promise,
    measured: run(),
    stop: () => {
      over.is = true;
    },
  };
}

async function work(plan: Plan, call: (worker: number) => Promise<unknown>, over: { is: boolean }): Promise<Measured> {
  const beganAtMs = performance.now();
  const endsAtMs = beganAtMs + (plan.seconds ?? Number.POSITIVE_INFINITY) * 1_000;
  const times: number[] = [];
  const errors: Record<string, number> = {};
  let [left, failed, lastMs, longestGapMs] = [plan.calls ?? Number.POSITIVE_INFINITY, 0, beganAtMs, 0];
  const gap = () => {
    longestGapMs = Math.max(longestGapMs, performance.now() - lastMs);
    lastMs = performance.now();
  };
  const worker = async (index: number) => {
    while (!over.is && performance.now() < endsAtMs && left > 0) {
      left -= 1;
      const calledAtMs = performance.now();
      try {
        await call(index);
        times.push(performance.now() - calledAtMs);
        gap();
      } catch (error) {
        failed += 1;
        const text = error instanceof Error ? error.message : 'unknown';
        errors[text] = (errors[text] ?? 0) + 1;
      }
    }
  };
  await Promise.all(Array.from({ length: plan.inFlight }, (_, index) => worker(index)));
  gap();
  const seconds = (performance.now() - beganAtMs) / 1_000;
  const [p50Ms, p99Ms] = [percentile(times, 0.5), percentile(times, 0.99)];
  const perSecond = times.length / seconds;
  return { seconds, served: times.length, perSecond, p50Ms, p99Ms, failed, errors, longestGapMs };
}
