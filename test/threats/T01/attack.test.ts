// T01 an etcd snapshot is stolen: what the API server puts into etcd is a KMS v2 envelope of ours, the Secret's bytes are nowhere in
// etcd's files, and it is read back through the provider, also by an API server that was started anew.

import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { withCluster } from '../../support/cluster.ts';
import { providerName } from '../../support/kubernetes.ts';
import { untilHealthy } from '../../support/provider.ts';
import { filesBelow, found } from '../../support/search.ts';
import { etcdKey } from '../../support/secrets.ts';

/** The provider that writes comes first; the mutation turns this round. */
const order = ['kms', 'identity'] as const; // control: encryption-config.order

withCluster(
  'T01: Secrets are KMS v2 envelopes in etcd, readable through the provider, and after a restart',
  async ({ start, startApiServer, etcd, directory }) => {
    const keyId = await untilHealthy(start());
    const { secrets, stop } = await startApiServer({ order });
    const canary = randomBytes(24).toString('hex');
    await secrets.create('canary', canary);
    const stored = await etcd.get(etcdKey('canary'));
    assert.ok(stored?.subarray(0, 33).toString('latin1').startsWith(`k8s:enc:kms:v2:${providerName}:`), 'the envelope');
    assert.ok(stored?.includes(Buffer.from(keyId)), 'our key_id');
    assert.ok(stored?.includes(Buffer.from('provider.kms.openbao.org')), 'our annotations');
    await stop();
    for (const [path, text] of filesBelow(join(directory, 'etcd'))) assert.equal(found(text, { canary }), [], path);
    const again = await startApiServer({ order });
    assert.is(await again.secrets.read('canary'), canary);
    assert.equal(await again.secrets.list(), [canary]);
  },
);

test.run();
