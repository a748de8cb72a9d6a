// T01 an etcd snapshot is stolen: with a real API server and a real etcd, what etcd holds is a KMS v2 envelope of ours, the
// Secret's bytes are nowhere in it, and it is read back through the provider, also by an API server that was started anew.

import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { withInstallation } from '../../support/installation.ts';
import { findKubernetes, startApiServer, startEtcd } from '../../support/kubernetes.ts';
import { untilHealthy } from '../../support/provider.ts';
import { filesBelow, found } from '../../support/search.ts';
import { skipWithout } from '../../support/skip.ts';

/** The provider that writes comes first; the mutation turns this round. */
const order = ['kms', 'identity'] as const;
const namespace = '/api/v1/namespaces/default/secrets';

test('Secrets are KMS v2 envelopes in etcd, readable through the provider, and after a restart', async () => {
  const binaries = findKubernetes();
  if (
    skipWithout(binaries !== undefined, 'T01 with a real API server', 'kube-apiserver and etcd') ||
    binaries === undefined
  )
    return;
  const directory = mkdtempSync(join(tmpdir(), 'bao-kms-t01-'));
  try {
    await withInstallation(async ({ start, workplace }) => {
      const provider = start();
      const keyId = await untilHealthy(provider);
      execFileSync('chmod', ['0755', `${workplace.directory}/run`]);
      const etcd = await startEtcd(binaries.etcd, directory);
      const options = {
        binary: binaries.apiServer,
        directory,
        etcdUrl: etcd.url,
        socketPath: workplace.socketPath,
        providerName: 'openbao-kms-test',
        order,
      };
      let apiServer = await startApiServer(options);
      const canary = randomBytes(24).toString('hex');
      const secret = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'canary' }, stringData: { value: canary } };
      assert.is((await apiServer.call('POST', namespace, secret)).status, 201);
      const stored = await etcd.get('/registry/secrets/default/canary');
      assert.ok(
        stored?.subarray(0, 33).toString('latin1').startsWith('k8s:enc:kms:v2:openbao-kms-test:'),
        'the envelope',
      );
      assert.ok(stored?.includes(Buffer.from(keyId)), 'our key_id');
      assert.ok(stored?.includes(Buffer.from('provider.kms.openbao.org')), 'our annotations');
      await apiServer.stop();
      for (const [path, text] of filesBelow(join(directory, 'etcd'))) assert.equal(found(text, { canary }), [], path);
      apiServer = await startApiServer(options);
      const read = await apiServer.call('GET', `${namespace}/canary`);
      assert.is(
        Buffer.from(String((read.body['data'] as Record<string, string>)['value']), 'base64').toString(),
        canary,
      );
      const list = await apiServer.call('GET', namespace);
      assert.is((list.body['items'] as unknown[]).length, 1);
      await apiServer.stop();
      await etcd.stop();
    });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

test.run();
