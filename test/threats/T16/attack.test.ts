// T16 OpenBao outage: refused, reset, black hole, error, sealed, slow, flapping. The socket answers throughout, Status fails
// closed after the bound, each failure has its class, service comes back by itself, and logins do not storm.

import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { install, until, withInstallation } from '../../support/installation.ts';
import { refusalOf } from '../../support/kms-client.ts';
import { refuse } from '../../support/openbao/answer.ts';
import type { Fault } from '../../support/openbao/front.ts';
import { untilHealthy } from '../../support/provider.ts';

const outages: readonly (readonly [string, Fault, string, string])[] = [
  ['reset', () => 'close', 'connection_failed', 'transit unavailable'],
  ['a black hole', () => 'hang', 'timeout', 'request timed out'],
  ['503', () => refuse(503, 'upstream is down'), 'unavailable', 'transit unavailable'],
  ['sealed', () => refuse(503, 'Vault is sealed'), 'sealed', 'transit unavailable'],
  [
    'rate limited',
    () => refuse(429, 'request path "x": rate limit quota exceeded'),
    'rate_limited',
    'transit rate limited',
  ],
  [
    'a proxy’s error page',
    () => ({ raw: true, status: 502, headers: { 'content-type': 'text/html' }, text: '<html>' }),
    'unavailable',
    'transit unavailable',
  ],
];

test('every kind of outage while serving: class, bound, socket, recovery', () =>
  withInstallation(async ({ start, bao, workplace }) => {
    const provider = start();
    await untilHealthy(provider);
    const encrypted = await provider.client.encrypt(randomBytes(32));
    for (const [what, fault, errorClass, message] of outages) {
      bao.fault = fault;
      assert.is((await refusalOf(provider.client.decrypt(encrypted))).message, message, what);
      await until(
        async () => (await provider.ready()).body['metadata_error_class'] === errorClass,
        `${what}: class in /ready`,
        30_000,
      );
      assert.ok(existsSync(workplace.socketPath));
      bao.fault = undefined;
      await until(
        async () => (await provider.client.decrypt(encrypted).catch(() => undefined)) !== undefined,
        `${what}: recovery`,
      );
      await until(
        async () => (await provider.ready()).body['metadata_error_class'] === undefined,
        `${what}: probes recover`,
        45_000,
      );
    }
    assert.is(provider.log.filter(({ message }) => message === 'plugin.exited').length, 0);
  }));

test('Status fails closed once evidence is older than the bound, and the socket keeps answering', () =>
  withInstallation(
    async ({ start, bao, workplace }) => {
      const provider = start();
      await untilHealthy(provider);
      bao.fault = () => 'close';
      const startedAtMs = Date.now();
      await until(async () => (await provider.client.status()).healthz === 'unhealthy', 'the bound', 15_000);
      assert.ok(Date.now() - startedAtMs >= 3_000, 'not before the evidence was old');
      assert.is((await provider.client.status()).keyId, '');
      assert.is((await refusalOf(provider.client.encrypt(randomBytes(32)))).message, 'status unhealthy');
      assert.equal([existsSync(workplace.socketPath), await provider.live()], [true, 200]);
    },
    {
      change: (config) => {
        // Long, so that nothing but the age of metadata can end it.
        config['status'] = { probeInterval: '1s', deepProbeInterval: '60s', statusMaxStaleness: '5s' };
      },
    },
  ));

test('OpenBao gone from the start and flapping afterwards: no process ends, logins stay few', async () => {
  const installed = await install();
  try {
    const { bao, start } = installed;
    bao.fault = () => 'close';
    const provider = start();
    assert.is((await provider.client.status(5_000)).healthz, 'unhealthy');
    let isUp = false;
    for (let flap = 0; flap < 6; flap += 1) {
      isUp = !isUp;
      bao.fault = isUp ? undefined : () => 'close';
      await Promise.all(
        Array.from({ length: 20 }, () => provider.client.encrypt(randomBytes(32)).catch(() => undefined)),
      );
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    bao.fault = undefined;
    await untilHealthy(provider, 45_000);
    const logins = bao.requests.filter(({ path }) => path.endsWith('/login')).length;
    assert.ok(logins <= 12, `${logins} logins`);
    assert.is(provider.log.filter(({ message }) => message === 'plugin.exited').length, 0);
  } finally {
    await installed.close();
  }
});

test.run();
