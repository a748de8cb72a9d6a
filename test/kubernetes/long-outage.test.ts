// OpenBao away for longer than an API server bears: its writes end three minutes after the last good Status.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { withCluster } from '../support/cluster.ts';
import { until } from '../support/installation.ts';
import { untilReady } from '../support/kubernetes.ts';
import { untilHealthy } from '../support/provider.ts';

const minutes = (count: number) => count * 60_000;

withCluster(
  'OpenBao stays away: reads of known objects go on, writes end by themselves, and it all comes back without a restart',
  async (cluster) => {
    const provider = cluster.start();
    await untilHealthy(provider);
    const node = await cluster.startApiServer();
    await node.secrets.create('known', 'known');
    await cluster.front.pause();
    let refusal = '';
    let count = 0;
    await until(
      async () => {
        assert.is(await node.secrets.read('known'), 'known');
        await node.secrets.create(`during-${count++}`, 'x').catch((error: Error) => {
          refusal = error.message;
        });
        await new Promise((resolve) => setTimeout(resolve, 1_000));
        return refusal !== '';
      },
      'the end of the writes',
      minutes(5),
    );
    assert.match(refusal, /encryptedDEKSource with keyID hash "sha256:[0-9a-f]+" expired at /u);
    assert.is((await node.call('GET', '/livez')).status, 200);
    assert.is((await node.call('GET', '/readyz')).status, 500);
    assert.is((await node.call('GET', '/readyz?exclude=kms-providers')).status, 200);
    await cluster.front.resume();
    await untilHealthy(provider, 60_000);
    await untilReady(node, minutes(3));
    await node.secrets.create('after', 'after');
    const cold = await cluster.startApiServer();
    assert.is((await cold.secrets.list()).length, count + 1);
  },
);

test.run();
