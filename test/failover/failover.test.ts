// Three nodes behind a TCP balancer, and something happens to the active one while the provider serves: how many calls are lost,
// and after what time no more are. Under load, and after ten quiet seconds. Prints the table of docs/failure-modes.md.

import { randomBytes } from 'node:crypto';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Balancer, startBalancer } from '../support/balancer.ts';
import { createJwtIssuer, issuerDefaults } from '../support/jwt-issuer.ts';
import { createAdmin, defaultInstallation, provision } from '../support/openbao/provision.ts';
import { limitOf, until } from '../support/patience.ts';
import { type Provider, startProvider, untilHealthy } from '../support/provider.ts';
import { createWorkplace, type Workplace } from '../support/workplace.ts';
import { type Cluster, type Deed, startCluster } from './clusters.ts';

const inFlight = 8;
/** After the deed; an election of raft is over long before. */
const watchedMs = 8_000;
const quietMs = 10_000;
const backMs = 3_000;
const hasLoad = ['under load', 'one call in ten seconds'] as const;
type Pace = (typeof hasLoad)[number];
type Kind = 'blind' | 'looking';

type Lost = { readonly afterMs: number; readonly why: string };
type Seen = { readonly served: number; readonly lost: readonly Lost[] };

type Sealed = Awaited<ReturnType<Provider['client']['encrypt']>>;
type Scene = {
  readonly cluster: Cluster;
  readonly balancer: Balancer;
  readonly provider: Provider;
  readonly workplace: Workplace;
  /** One for each worker: Decrypts of one ciphertext would be answered together. */
  readonly sealed: readonly Sealed[];
};

async function prepare(cluster: Cluster): Promise<string> {
  const admin = createAdmin({
    address: `https://127.0.0.1:${await cluster.active()}`,
    token: cluster.rootToken,
    ca: cluster.authority.pem,
  });
  const issuer = createJwtIssuer();
  await provision(admin, defaultInstallation, { publicKeyPem: issuer.publicKeyPem, ...issuerDefaults });
  await admin.close();
  return issuer.issue();
}

/** The active node stands first, so a balancer that looks sends everybody there. */
async function openScene(cluster: Cluster, jwt: string, kind: Kind): Promise<Scene> {
  const active = await cluster.active();
  const ports = cluster.ports.toSorted((one, other) => Number(other === active) - Number(one === active));
  const balancer = await startBalancer({ ports, ...(kind === 'looking' ? { isWell: cluster.isWell } : {}) });
  const address = `https://127.0.0.1:${balancer.port}`;
  const workplace = createWorkplace({ address, ca: cluster.authority.pem, jwt });
  workplace.writeConfig((config) => {
    config['status'] = { probeInterval: '5s', deepProbeInterval: '10s', statusMaxStaleness: '60s' };
  });
  const provider = startProvider(workplace);
  await untilHealthy(provider);
  const sealed = await Promise.all(Array.from({ length: inFlight }, () => untilEncrypted(provider)));
  return { cluster, balancer, provider, workplace, sealed };
}

/** Nodes that have just come back may refuse for a while: the scene begins when none does. */
async function untilEncrypted(provider: Provider): Promise<Sealed> {
  let sealed: Sealed | undefined;
  const isServed = async () => {
    sealed = await provider.client.encrypt(randomBytes(32)).catch(() => undefined);
    return sealed !== undefined;
  };
  await until(isServed, 'an Encrypt');
  if (sealed === undefined) throw new Error('nothing was encrypted');
  return sealed;
}

async function closeScene({ provider, balancer, workplace }: Scene): Promise<void> {
  await provider.stop();
  await balancer.close();
  workplace.remove();
}

class Watch {
  readonly #lost: Lost[] = [];
  readonly #startedAtMs = performance.now();
  #served = 0;

  async call(scene: Scene, index: number, isDecrypt: boolean): Promise<void> {
    const { client } = scene.provider;
    const sealed = scene.sealed[index % inFlight];
    const called = isDecrypt && sealed !== undefined ? client.decrypt(sealed) : client.encrypt(randomBytes(32));
    await called.then(
      () => {
        this.#served += 1;
      },
      (error: unknown) => {
        const why = error instanceof Error ? error.message : 'unknown';
        this.#lost.push({ afterMs: performance.now() - this.#startedAtMs, why });
      },
    );
  }

  seen(): Seen {
    return { served: this.#served, lost: this.#lost };
  }
}

async function underLoad(scene: Scene, happen: () => Promise<void>): Promise<Seen> {
  let isOver = false;
  const watch = new Watch();
  const workers = Array.from({ length: inFlight }, async (_, index) => {
    for (let count = 0; !isOver; count += 1) await watch.call(scene, index, count % 2 === 0);
  });
  await Promise.all([happen(), sleep(watchedMs)]);
  isOver = true;
  await Promise.all(workers);
  return watch.seen();
}

/** Ten quiet seconds, then a call as soon as it has happened, one when service must be back, and one ten seconds after the first. */
async function inQuiet(scene: Scene, happen: () => Promise<void>): Promise<Seen> {
  await sleep(quietMs);
  const happened = happen();
  const watch = new Watch();
  const callAt = async (atMs: number) => {
    await sleep(atMs);
    await watch.call(scene, 0, true);
  };
  await Promise.all([happened, callAt(0), callAt(backMs), callAt(quietMs)]);
  return watch.seen();
}

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

async function play(scene: Scene, deed: Deed | 'partitioned', pace: Pace): Promise<Seen> {
  const { cluster, balancer, provider } = scene;
  const active = await cluster.active();
  let mend = async () => {};
  const happen = async () => {
    if (deed !== 'partitioned') mend = await cluster.does[deed](active);
    else {
      balancer.isolate(active);
      mend = async () => balancer.rejoin(active);
    }
  };
  const seen = await (pace === 'under load' ? underLoad(scene, happen) : inQuiet(scene, happen));
  await mend();
  await untilHealthy(provider);
  return seen;
}

const deeds: readonly (Deed | 'partitioned')[] = ['sealed', 'killed', 'frozen', 'stepped down', 'partitioned'];
const rows: string[] = [];

function backAfterMs({ lost }: Seen): number {
  return Math.max(0, ...lost.map(({ afterMs }) => afterMs));
}

function tell(kind: Kind, deed: string, pace: Pace, seen: Seen): void {
  const back = seen.lost.length === 0 ? '–' : `${(backAfterMs(seen) / 1000).toFixed(1)} s`;
  const calls = seen.lost.length + seen.served;
  rows.push(`| ${deed} | ${kind} | ${pace} | ${calls} | ${seen.lost.length} | ${back} |`);
  const reasons = Map.groupBy(seen.lost, ({ why }) => why);
  for (const [why, all] of reasons) process.stdout.write(`  ${kind} ${deed} ${pace}: ${all.length} × ${why}\n`);
}

let cluster: Cluster | undefined;
let jwt = '';

for (const kind of ['blind', 'looking'] as const) {
  for (const pace of hasLoad) {
    for (const deed of deeds) {
      test(`the active node ${deed}, behind a balancer that is ${kind}, ${pace}: service is back within 3 s`, async () => {
        cluster ??= await startCluster();
        if (jwt === '') jwt = await prepare(cluster);
        const scene = await openScene(cluster, jwt, kind);
        try {
          const seen = await play(scene, deed, pace);
          tell(kind, deed, pace, seen);

          assert.ok(seen.served > 0, 'calls were served');
          assert.ok(backAfterMs(seen) <= limitOf(backMs), `the last call was lost after ${backAfterMs(seen)} ms`);
          // One that looks goes on sending us to the node for as long as it has not looked again.
          const most = kind === 'looking' && pace === 'under load' ? Number.POSITIVE_INFINITY : inFlight;
          assert.ok(seen.lost.length <= (pace === 'under load' ? most : 1), `${seen.lost.length} calls were lost`);
        } finally {
          await closeScene(scene);
        }
      });
    }
  }
}

test('the table', async () => {
  const head = '| The active node | Balancer | Calls | made | lost | last one lost after |\n|---|---|---|---|---|---|';
  process.stdout.write(
    `\n${cluster?.isReal === true ? 'real raft nodes' : 'played nodes'}\n${head}\n${rows.join('\n')}\n`,
  );
  await cluster?.close();
});

test.run();
