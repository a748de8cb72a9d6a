// T06 a key is made by accident: a mount that would make keys on demand is unhealthy within one probe, and a wrong key name in
// the configuration makes none even there.

import { randomBytes } from 'node:crypto';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { until } from '../../support/installation.ts';
import { withAdministration } from '../../support/key-administration.ts';
import { refusalOf } from '../../support/kms-client.ts';
import { defaultInstallation } from '../../support/openbao/provision.ts';
import { untilHealthy } from '../../support/provider.ts';

const { mountPath, keyName } = defaultInstallation;
const allow = { disable_upsert: false };

test('upsert switched on is unhealthy within one probe; switched off again it recovers', () =>
  withAdministration(async ({ admin, start }) => {
    const provider = start();
    await untilHealthy(provider);
    await admin.call('POST', `${mountPath}/config/keys`, allow);
    await until(async () => (await provider.client.status()).healthz === 'unhealthy', 'the finding', 4_000);
    assert.equal((await provider.ready()).body['reasons'], ['upsert_allowed']);
    assert.is((await refusalOf(provider.client.encrypt(randomBytes(32)))).message, 'status unhealthy');
    await admin.call('POST', `${mountPath}/config/keys`, { disable_upsert: true });
    await untilHealthy(provider);
  }));

test('a wrong key name makes no key, not even where the mount would', () =>
  withAdministration(
    async ({ admin, start, keyNames }) => {
      await admin.call('POST', `${mountPath}/config/keys`, allow);
      const provider = start();
      await provider.event('serve.ready', 30_000);
      assert.is((await refusalOf(provider.client.encrypt(randomBytes(32)))).message, 'status unhealthy');
      assert.is((await provider.client.status()).healthz, 'unhealthy');
      assert.equal(await keyNames(), [keyName]);
    },
    (config) => {
      (config['transit'] as Record<string, unknown>)['keyName'] = 'a-typo';
      config['bootstrap'] = { graceTimeout: '2s', retryInterval: '200ms' };
    },
  ));

test.run();
