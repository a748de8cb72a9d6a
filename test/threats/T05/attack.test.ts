// T05 the Transit key is deleted: that it may be deleted is unhealthy already, its deletion fails closed, and the key that comes
// back from a storage backup is taken into use again without help.

import { randomBytes } from 'node:crypto';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { until } from '../../support/installation.ts';
import { withAdministration } from '../../support/key-administration.ts';
import { refusalOf } from '../../support/kms-client.ts';
import { type Admin, defaultInstallation } from '../../support/openbao/provision.ts';
import { untilHealthy } from '../../support/provider.ts';

const key = `${defaultInstallation.mountPath}/keys/${defaultInstallation.keyName}`;

test('a key that may be deleted is unhealthy within one probe, Encrypt is refused, Decrypt goes on', () =>
  withAdministration(async ({ admin, start }) => {
    const provider = start();
    await untilHealthy(provider);
    const sealed = await provider.client.encrypt(randomBytes(32));
    await admin.call('POST', `${key}/config`, { deletion_allowed: true });
    await until(async () => (await provider.client.status()).healthz === 'unhealthy', 'the finding', 4_000);
    const { healthz, keyId } = await provider.client.status();
    assert.equal([healthz, keyId], ['unhealthy', '']);
    assert.is((await refusalOf(provider.client.encrypt(randomBytes(32)))).message, 'status unhealthy');
    assert.is((await provider.client.decrypt(sealed)).plaintext.length, 32);
    assert.equal((await provider.ready()).body['reasons'], ['profile_invalid']);
    await admin.call('POST', `${key}/config`, { deletion_allowed: false });
    await untilHealthy(provider);
  }));

test('the provider’s own token can neither delete the key nor allow it', () =>
  withAdministration(async ({ admin, start }) => {
    await untilHealthy(start());
    const paths = [key, `${key}/config`, `${key}/trim`];
    const policies = [defaultInstallation.policyName];
    const { body } = await admin.call('POST', 'auth/token/create', { policies, no_default_policy: true, ttl: '1m' });
    const token = String((body['auth'] as Record<string, unknown>)['client_token']);
    const found = await admin.call('POST', 'sys/capabilities', { token, paths }, true);
    if (found.status === 501) return assertByHand(admin, token);
    for (const path of paths) {
      const capabilities = found.body[path] as string[];
      assert.not.ok(
        capabilities.some((one) => ['delete', 'update', 'create', 'sudo', 'root'].includes(one)),
        path,
      );
    }
  }));

/** The development server has no `sys/capabilities`: the token simply tries. */
async function assertByHand(admin: Admin, token: string): Promise<void> {
  const call = admin.as(token);
  assert.is((await call('DELETE', key, undefined, true)).status, 403);
  assert.is((await call('POST', `${key}/config`, { deletion_allowed: true }, true)).status, 403);
  assert.is((await call('POST', `${key}/trim`, { min_available_version: 1 }, true)).status, 403);
}

test('a deleted key fails closed, and comes into use again from the backup, with everything readable', () =>
  withAdministration(async ({ admin, start, backUp }) => {
    const provider = start();
    const keyId = await untilHealthy(provider);
    const sealed = await provider.client.encrypt(randomBytes(32));
    const restore = await backUp();
    await admin.call('POST', `${key}/config`, { deletion_allowed: true });
    await admin.call('DELETE', key);
    await until(async () => (await provider.client.status()).healthz === 'unhealthy', 'the loss', 8_000);
    assert.is((await refusalOf(provider.client.encrypt(randomBytes(32)))).message, 'status unhealthy');
    assert.is((await refusalOf(provider.client.decrypt(sealed))).message, 'transit decrypt failed');
    await restore();
    assert.is(await untilHealthy(provider, 60_000), keyId);
    assert.is((await provider.client.decrypt(sealed)).plaintext.length, 32);
  }));

test.run();
