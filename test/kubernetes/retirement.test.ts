// Old versions under an API server: a minimum that is raised too early, and a version that is retired too early.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { withCluster } from '../support/cluster.ts';
import { until } from '../support/installation.ts';
import { untilReady } from '../support/kubernetes.ts';
import { untilHealthy } from '../support/provider.ts';
import { apply, keyIdOf, quickRotation, restrict, rotatedOnce } from '../support/rotation.ts';
import { messageOf, secretsPath } from '../support/secrets.ts';

withCluster(
  'min_decryption_version raised too early: refused until it is lowered; after a rewrite `retire-versions` makes it right',
  async (cluster) => {
    const { node, after, ...first } = await rotatedOnce(cluster, 'old');
    let { provider } = first;
    const isIll = () => until(async () => (await provider.client.status()).healthz === 'unhealthy', 'the finding');

    await restrict(cluster, 2);
    await isIll();
    assert.is(await node.secrets.read('old'), 'old', 'a seed that the API server has is enough');
    const cold = await cluster.startApiServer({ mayBeUnready: true });
    assert.match(await messageOf(cold.secrets.read('old')), /got unexpected nil transformer/u);
    await restrict(cluster, 1);
    await untilHealthy(provider);
    await untilReady(cold);
    assert.is(await cold.secrets.read('old'), 'old');

    const names = await node.secrets.names();
    for (const name of names) await node.secrets.rewrite(name);
    for (const name of names) assert.is(await keyIdOf(cluster, name), after);
    await restrict(cluster, 2);
    await isIll();
    await provider.stop();
    await apply(cluster, 'retire-versions', '--before-version', '2');
    provider = cluster.start();
    assert.is(await untilHealthy(provider), after);
    const anew = await cluster.startApiServer();
    assert.is(await anew.secrets.read('old'), 'old');
    assert.is((await anew.secrets.list()).length, (await node.secrets.list()).length);
  },
  quickRotation,
);

withCluster(
  'a version retired while one object still uses it: no API server that starts can list, until `restore-versions` takes it back',
  async (cluster) => {
    const { node, ...first } = await rotatedOnce(cluster, 'forgotten');
    let { provider } = first;
    for (const name of await node.secrets.names()) if (name !== 'forgotten') await node.secrets.rewrite(name);
    await provider.stop();
    await apply(cluster, 'retire-versions', '--before-version', '2');
    provider = cluster.start();
    await untilHealthy(provider);
    const cold = await cluster.startApiServer({ mayBeUnready: true });
    await until(async () => {
      const { status, body } = await cold.call('GET', secretsPath);
      return status !== 200 && /code = NotFound desc = key_id unknown/u.test(String(body['message']));
    }, 'a LIST that fails');
    assert.is(await cold.secrets.read('new-0'), 'new-0');
    await provider.stop();
    await apply(cluster, 'restore-versions', '--versions', '1');
    provider = cluster.start();
    await untilHealthy(provider);
    assert.ok((await cold.secrets.list()).includes('forgotten'));
  },
  quickRotation,
);

test.run();
