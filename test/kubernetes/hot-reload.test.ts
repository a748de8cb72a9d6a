// The API server's own hot reload: it reads its configuration once a minute, tries the new one, and takes it when it is healthy.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Node, withCluster } from '../support/cluster.ts';
import { until } from '../support/installation.ts';
import { untilHealthy } from '../support/provider.ts';

const minutes = (count: number) => count * 60_000;

const reloads = async ({ call }: Node, status: 'success' | 'failure'): Promise<number> => {
  const text = String((await call('GET', '/metrics')).body['text']);
  const line = `^apiserver_encryption_config_controller_automatic_reloads_total\\{.*status="${status}"\\} (\\d+)$`;
  return Number(new RegExp(line, 'mu').exec(text)?.[1] ?? 0);
};

withCluster(
  'a hot reload of the API server’s configuration serves on; one that names a provider that is not there is not taken',
  async (cluster) => {
    await untilHealthy(cluster.start());
    const node = await cluster.startApiServer({ hasReload: true });
    await node.secrets.create('first', 'first');
    const { socketPath } = cluster.workplace;
    node.configure({ socketPath, timeout: '5s' });
    await until(async () => (await reloads(node, 'success')) > 0, 'the reload', minutes(3));
    await node.secrets.create('second', 'second');
    node.configure({ socketPath: `${socketPath}.nowhere` });
    await until(async () => (await reloads(node, 'failure')) > 0, 'the refused reload', minutes(3));
    await node.secrets.create('third', 'third');
    assert.is((await node.call('GET', '/readyz')).status, 200);
    for (const name of ['first', 'second', 'third']) assert.is(await node.secrets.read(name), name);
  },
);

test.run();
