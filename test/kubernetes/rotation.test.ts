// A key that rotates under an API server: what it stores, old objects and new ones, two nodes at different moments, and what an
// object that was tampered with looks like to a client.

import { createDecipheriv, createHmac } from 'node:crypto';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { withCluster } from '../support/cluster.ts';
import { envelopeOf } from '../support/envelope.ts';
import { quickly } from '../support/installation.ts';
import { providerName } from '../support/kubernetes.ts';
import { startProvider, untilHealthy } from '../support/provider.ts';
import { keyIdOf, quickRotation, rotate, untilPromoted, untilWrittenAnew } from '../support/rotation.ts';
import { etcdKey, secretsPath } from '../support/secrets.ts';

withCluster('what is stored opens with the seed that our Decrypt gives, and with nothing less', async (cluster) => {
  const provider = cluster.start();
  const keyId = await untilHealthy(provider);
  const { secrets } = await cluster.startApiServer();
  await secrets.create('canary', 'a value that nobody else writes');
  const stored = await cluster.etcd.get(etcdKey('canary'));
  assert.ok(stored);
  const envelope = envelopeOf(stored, providerName);
  assert.is(envelope.keyId, keyId);
  assert.is(envelope.seedType, 1);
  const { plaintext: seed } = await provider.client.decrypt({
    ciphertext: envelope.seed,
    keyId: envelope.keyId,
    annotations: envelope.annotations,
  });
  assert.is(seed.length, 32);
  const [info, nonce] = [envelope.data.subarray(0, 32), envelope.data.subarray(32, 44)];
  const dataKey = createHmac('sha256', seed)
    .update(Buffer.concat([info, Buffer.of(1)]))
    .digest();
  const decipher = createDecipheriv('aes-256-gcm', dataKey, nonce).setAAD(Buffer.from(etcdKey('canary')));
  decipher.setAuthTag(envelope.data.subarray(-16));
  const opened = Buffer.concat([decipher.update(envelope.data.subarray(44, -16)), decipher.final()]);
  assert.is(opened.subarray(0, 4).toString('latin1'), 'k8s\0');
  assert.ok(opened.includes(Buffer.from('a value that nobody else writes')));
  assert.not.ok(stored.includes(Buffer.from('a value that nobody else writes')));
});

withCluster(
  'a rotation during continuous writes: new objects carry the new key, old ones stay readable, nothing is restarted or reloaded',
  async (cluster) => {
    const provider = cluster.start();
    const before = await untilHealthy(provider);
    const node = await cluster.startApiServer();
    await node.secrets.create('old', 'old');
    const failed: string[] = [];
    let isOver = false;
    let count = 0;
    const writing = (async () => {
      while (!isOver) {
        count += 1;
        await node.secrets.create(`object-${count}`, 'x').catch((error: Error) => failed.push(error.message));
      }
    })();
    try {
      await rotate(cluster);
      await untilWrittenAnew(cluster, node, 'new', before);
    } finally {
      isOver = true;
      await writing;
    }
    const after = (await provider.client.status()).keyId;
    assert.equal(failed, []);
    assert.is.not(after, before);
    assert.is(await keyIdOf(cluster, `object-${count}`), after);
    assert.is(await keyIdOf(cluster, 'old'), before, 'nobody rewrites by itself');
    assert.is(await node.secrets.read('old'), 'old');
    await node.secrets.rewrite('old');
    assert.is(await keyIdOf(cluster, 'old'), after, 'a write of the same content rewrites it');
    const cold = await cluster.startApiServer();
    assert.is((await cold.secrets.list()).length, (await node.secrets.list()).length);
    assert.is(await cold.secrets.read('object-1'), 'x');
    assert.is(provider.log.filter(({ message }) => message === 'plugin.started').length, 1, 'one plugin all the while');
  },
  quickRotation,
);

withCluster(
  'two API servers with two providers at different moments of a promotion read what the other writes',
  async (cluster) => {
    const early = cluster.start();
    const before = await untilHealthy(early);
    const other = cluster.addWorkplace();
    other.writeConfig((config) => {
      quickRotation(config);
      // After its start it looks at the key only when a call makes it look.
      config['status'] = { probeInterval: '1h', deepProbeInterval: '1h', statusMaxStaleness: '2h' };
    });
    const late = startProvider(other);
    try {
      await untilHealthy(late);
      const a = await cluster.startApiServer();
      const b = await cluster.startApiServer({ socketPath: other.socketPath });
      await rotate(cluster);
      const fresh = await untilWrittenAnew(cluster, a, 'fresh', before);
      assert.is((await late.client.status()).keyId, before);
      await b.secrets.create('slow', 'slow');
      assert.is(await keyIdOf(cluster, 'slow'), before);
      assert.is(await b.secrets.read(fresh), fresh, 'the late one discovers the version');
      assert.is(await a.secrets.read('slow'), 'slow');
      other.writeConfig((config) => {
        quickly(config);
        quickRotation(config);
      });
      late.child.kill('SIGHUP');
      assert.is(await untilPromoted(late, before), await keyIdOf(cluster, fresh), 'both end with the same key_id');
    } finally {
      await late.stop();
    }
  },
  quickRotation,
);

withCluster(
  'an object that was tampered with in etcd: its reader sees a neutral sentence of ours and nothing of OpenBao',
  async (cluster) => {
    await untilHealthy(cluster.start());
    const node = await cluster.startApiServer();
    await node.secrets.create('good', 'good');
    await node.secrets.create('bad', 'bad');
    const stored = await cluster.etcd.get(etcdKey('bad'));
    assert.ok(stored);
    const { seed } = envelopeOf(stored, providerName);
    const at = stored.indexOf(seed) + seed.length - 8;
    stored[at] = stored[at] === 0x41 ? 0x42 : 0x41;
    await cluster.etcd.put(etcdKey('bad'), stored);
    const { status, body } = await node.call('GET', `${secretsPath}/bad`);
    assert.is(status, 500);
    const [, ours] = /failed to decrypt DEK, error: rpc error: code = (.*)$/u.exec(String(body['message'])) ?? [];
    assert.is(ours, 'InvalidArgument desc = transit decrypt failed');
    assert.is(await node.secrets.read('good'), 'good');
  },
);

test.run();
