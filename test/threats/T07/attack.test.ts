// T07 a key is recreated under the same name: it is another key. Nothing of it is adopted, nothing is encrypted with it, and the
// old key_id is never reported for it.

import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { until } from '../../support/installation.ts';
import { withAdministration } from '../../support/key-administration.ts';
import { refusalOf } from '../../support/kms-client.ts';
import { defaultInstallation } from '../../support/openbao/provision.ts';
import { type Provider, untilHealthy } from '../../support/provider.ts';

const key = `${defaultInstallation.mountPath}/keys/${defaultInstallation.keyName}`;

/** Deletes the key and makes one of the same name in another second. */
async function recreate(admin: {
  readonly call: (method: 'POST' | 'DELETE', path: string, body?: unknown) => Promise<unknown>;
}) {
  await admin.call('POST', `${key}/config`, { deletion_allowed: true });
  await admin.call('DELETE', key);
  await new Promise((resolve) => setTimeout(resolve, 1_100));
  await admin.call('POST', key, { type: 'aes256-gcm96' });
}

/** Over several probes and both kinds: never healthy, never a key_id, never an Encrypt. */
async function neverAdopted(provider: Provider): Promise<void> {
  await until(
    async () => String((await provider.ready()).body['reasons']).includes('profile_invalid'),
    'the finding',
    10_000,
  );
  for (let look = 0; look < 20; look += 1) {
    const { healthz, keyId } = await provider.client.status();
    assert.equal([healthz, keyId], ['unhealthy', '']);
    assert.is((await refusalOf(provider.client.encrypt(randomBytes(32)))).message, 'status unhealthy');
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

test('while serving', () =>
  withAdministration(async ({ admin, start, workplace }) => {
    const provider = start();
    await untilHealthy(provider);
    const sealed = await provider.client.encrypt(randomBytes(32));
    const state = readFileSync(workplace.statePath, 'utf8');
    await recreate(admin);
    await neverAdopted(provider);
    assert.is(readFileSync(workplace.statePath, 'utf8'), state, 'nothing adopted');
    assert.is((await refusalOf(provider.client.decrypt(sealed))).message, 'transit decrypt failed');
  }));

test('while it was stopped', () =>
  withAdministration(async ({ admin, start, workplace }) => {
    const first = start();
    await untilHealthy(first);
    await first.stop();
    const state = readFileSync(workplace.statePath, 'utf8');
    await recreate(admin);
    const provider = start();
    await provider.client.status(5_000);
    await neverAdopted(provider);
    assert.is(readFileSync(workplace.statePath, 'utf8'), state);
  }));

test.run();
