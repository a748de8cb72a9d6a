// OpenBao away, sealed, rotated, its tokens revoked: what the API server sees meanwhile, and how service comes back.

import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { install, until, withInstallation } from '../support/installation.ts';
import { refusalOf } from '../support/kms-client.ts';
import { untilHealthy } from '../support/provider.ts';

test('OpenBao absent at the start: the socket is there, Status unhealthy, and service comes by itself', async () => {
  const installed = await install();
  try {
    const { bao, start } = installed;
    bao.fault = () => 'close';
    const provider = start();
    const status = await provider.client.status(5_000);
    assert.equal([status.healthz, status.keyId, status.version], ['unhealthy', '', 'v2']);
    assert.is((await refusalOf(provider.client.encrypt(randomBytes(32)))).message, 'status unhealthy');
    assert.is(await provider.live(), 200);
    assert.is((await provider.ready()).status, 503);
    bao.fault = undefined;
    await untilHealthy(provider);
    assert.is((await provider.ready()).status, 200);
    assert.is(provider.log.filter(({ message }) => message === 'plugin.exited').length, 0, 'no process ended');
  } finally {
    await installed.close();
  }
});

test('an outage while serving: healthy until the bound, then unhealthy, the socket never gone, back by itself', () =>
  withInstallation(async ({ start, bao, workplace }) => {
    const provider = start();
    await untilHealthy(provider);
    const encrypted = await provider.client.encrypt(randomBytes(32));
    bao.isSealed = true;
    await until(
      async () => (await provider.ready()).body['metadata_error_class'] === 'sealed',
      'the failure in /ready',
    );
    assert.is((await provider.client.status()).healthz, 'ok', 'evidence ages first');
    assert.is((await refusalOf(provider.client.decrypt(encrypted))).message, 'transit unavailable');
    await until(async () => (await provider.client.status()).healthz === 'unhealthy', 'the bound');
    assert.ok(existsSync(workplace.socketPath));
    assert.is((await provider.ready()).status, 503);
    bao.isSealed = false;
    await untilHealthy(provider, 40_000);
    assert.ok((await provider.client.decrypt(encrypted)).plaintext.length === 32);
  }));

test('a revoked token costs one login and no failed call', () =>
  withInstallation(async ({ start, bao }) => {
    const provider = start();
    await untilHealthy(provider);
    const encrypted = await provider.client.encrypt(randomBytes(32));
    for (const [id, token] of bao.access.tokens) if (!token.isRoot) bao.access.tokens.delete(id);
    assert.is((await provider.client.decrypt(encrypted)).plaintext.length, 32);
    assert.is(provider.log.filter(({ message }) => message === 'auth.login').length, 2);
  }));

test('a rotated key decrypts at once on this node, and is not used to encrypt before its time', () =>
  withInstallation(async ({ start, engine }) => {
    const provider = start();
    const keyId = await untilHealthy(provider);
    engine.handle('write', 'keys/k8s-demo-etcd/rotate', {}, Math.floor(Date.now() / 1000));
    await until(async () => (await provider.ready()).body['rotation_state'] === 'pending', 'the newer version');
    const encrypted = await provider.client.encrypt(randomBytes(32));
    assert.is(encrypted.keyId, keyId);
    assert.ok(encrypted.ciphertext.toString().startsWith('vault:v1:'));
  }));

test('with a short activation delay a rotation is promoted by itself, old data stays readable', () =>
  withInstallation(
    async ({ start, engine }) => {
      const provider = start();
      const keyId = await untilHealthy(provider);
      const old = await provider.client.encrypt(randomBytes(32));
      engine.handle('write', 'keys/k8s-demo-etcd/rotate', {}, Math.floor(Date.now() / 1000));
      const seen = new Set<string>();
      await until(async () => {
        const status = await provider.client.status();
        seen.add(status.healthz);
        return status.keyId !== keyId && status.keyId !== '';
      }, 'the promotion');
      assert.equal([...seen], ['ok'], 'Status never dipped');
      const fresh = await provider.client.encrypt(randomBytes(32));
      assert.ok(fresh.ciphertext.toString().startsWith('vault:v2:'));
      assert.is((await provider.client.decrypt(old)).plaintext.length, 32);
      await provider.event('key.promoted');
    },
    {
      change: (config) => {
        config['rotation'] = { activationDelay: '1s', requireStableObservationCount: 2 };
      },
    },
  ));

test.run();
