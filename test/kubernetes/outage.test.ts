// An API server while OpenBao or the provider is away for a while, and when it starts in the middle of that.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Cluster, withCluster } from '../support/cluster.ts';
import { envelopeOf } from '../support/envelope.ts';
import { until } from '../support/installation.ts';
import { providerName, untilReady } from '../support/kubernetes.ts';
import { type Provider, untilHealthy } from '../support/provider.ts';
import { etcdKey, messageOf } from '../support/secrets.ts';

/** Deep probes decrypt too; here only the API server's calls are of interest. */
const decrypts = async (provider: Provider): Promise<number> => {
  const [, count = '0'] =
    /^openbao_kms_grpc_requests_total\{method="decrypt",status="ok"\} (\d+)$/mu.exec(await provider.metrics()) ?? [];
  return Number(count);
};
const isIll = (provider: Provider) =>
  until(async () => (await provider.client.status()).healthz === 'unhealthy', 'the finding', 40_000);

withCluster(
  'OpenBao stops: a running API server goes on, one that starts then refuses, and both serve when it is back',
  async (cluster) => {
    const provider = cluster.start();
    await untilHealthy(provider);
    const running = await cluster.startApiServer();
    await running.secrets.create('before', 'before');
    await cluster.front.pause();
    await isIll(provider);
    assert.is(await running.secrets.read('before'), 'before');
    await running.secrets.create('during', 'during');
    assert.is((await running.call('GET', '/livez')).status, 200);
    const started = await cluster.startApiServer({ mayBeUnready: true });
    assert.match(await messageOf(started.secrets.read('before')), /got unexpected nil transformer/u);
    const unready = await started.call('GET', '/readyz/kms-providers');
    assert.is(unready.status, 500);
    // The words of its reader for a Status that is not good; ours is only the word `unhealthy`.
    assert.match(String(unready.body['text']), /unhealthy/u);
    assert.not.match(String(unready.body['text']), /https?:|127\.0\.0\.1|transit\/|k8s-demo/u);
    await cluster.front.resume();
    await untilHealthy(provider, 60_000);
    await untilReady(started);
    await untilReady(running);
    for (const name of ['before', 'during']) assert.is(await started.secrets.read(name), name);
    await started.secrets.create('after', 'after');
    assert.is(await running.secrets.read('after'), 'after');
  },
);

withCluster('an API server that is up before the provider serves as soon as the provider does', async (cluster) => {
  const node = await cluster.startApiServer({ mayBeUnready: true });
  assert.match(await messageOf(node.secrets.create('early', 'early')), /got unexpected nil transformer/u);
  await untilHealthy(cluster.start());
  await untilReady(node);
  await node.secrets.create('early', 'early');
  assert.is(await node.secrets.read('early'), 'early');
});

withCluster(
  'each start of an API server makes one seed, and the next start asks for each of them once',
  async (cluster) => {
    const provider = cluster.start();
    await untilHealthy(provider);
    const starts = 5;
    for (let count = 0; count < starts; count += 1) {
      const node = await cluster.startApiServer();
      await node.secrets.create(`object-${count}`, 'x');
      await node.stop();
    }
    const before = await decrypts(provider);
    const cold = await cluster.startApiServer();
    assert.is((await cold.secrets.list()).length, starts);
    assert.is((await decrypts(provider)) - before, starts);
  },
);

withCluster(
  'a hundred readers of an object under a seed that is new to their API server: none fails, OpenBao is asked once',
  async (cluster) => {
    await untilHealthy(cluster.start());
    const reader = await cluster.startApiServer();
    const writer = await cluster.startApiServer();
    const asked: string[] = [];
    // Long enough for all of them to come meanwhile.
    cluster.front.fault = async ({ path, body }) => {
      if (path.includes('/decrypt/')) asked.push(String(body['ciphertext']));
      await new Promise((resolve) => setTimeout(resolve, 500));
      return undefined;
    };
    await writer.secrets.create('popular', 'popular');
    const values = await Promise.all(Array.from({ length: 100 }, () => reader.secrets.read('popular')));
    cluster.front.fault = undefined;
    assert.equal([...new Set(values)], ['popular']);
    const stored = await cluster.etcd.get(etcdKey('popular'));
    assert.ok(stored);
    const seed = envelopeOf(stored, providerName).seed.toString();
    assert.is(asked.filter((ciphertext) => ciphertext === seed).length, 1);
  },
);

withCluster(
  'a reload, a crash of the plugin and a restart of the service, while objects with new seeds are written and read: nothing fails',
  async (cluster) => {
    let provider = cluster.start();
    await untilHealthy(provider);
    const reader = await cluster.startApiServer();
    const disturbances: [string, () => Promise<void> | void][] = [
      ['reload', () => void provider.child.kill('SIGHUP')],
      ['crash', () => void process.kill(provider.pluginPid(), 'SIGKILL')],
      [
        'restart',
        async () => {
          await provider.stop();
          provider = cluster.start();
        },
      ],
    ];
    for (const [name, disturb] of disturbances) {
      const writer = await cluster.startApiServer();
      const disturbed = disturb();
      const write = async (count: number) => {
        await writer.secrets.create(`${name}-${count}`, name);
        assert.is(await reader.secrets.read(`${name}-${count}`), name);
      };
      // The first of them needs a Decrypt that arrives in the middle of it.
      for (let count = 0; count < 50; count += 1) await write(count);
      await disturbed;
      await untilHealthy(provider);
      await writer.stop();
    }
    await lists(cluster, 3 * 50);
  },
);

async function lists(cluster: Cluster, count: number): Promise<void> {
  const cold = await cluster.startApiServer();
  assert.is((await cold.secrets.list()).length, count);
}

test.run();
