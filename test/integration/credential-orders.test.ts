// Everything that a rotation changes, in every order: CA file, certificate of the server, JWT file, key of the issuer, policy. With a
// real OpenBao when one is found, else the development server. Without SIGHUP or restart, service is never away for more than a
// minute after the last change that makes it possible. Gaps of 90 s take eight minutes: `GAPS=90`, or `GAPS=0,4,90` for all.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { changes, type OrderResult, ordersOf, runOrder } from '../support/credential-orders.ts';
import { createJwtIssuer, issuerDefaults } from '../support/jwt-issuer.ts';
import { findBao, startOpenBao } from '../support/openbao/process.ts';
import { createAdmin, defaultInstallation, provision } from '../support/openbao/provision.ts';
import { limitOf } from '../support/patience.ts';
import { createAuthority } from '../support/pki.ts';

const allowedMs = 60_000;
const gapsSeconds = (process.env['GAPS'] ?? '0,4').split(',').map(Number);

for (const gap of gapsSeconds) {
  test(`120 orders of five changes, ${gap} s apart: service is back within 60 s, and never away for longer while it is possible`, async () => {
    const bao = await startOpenBao(findBao() !== undefined);
    const admin = createAdmin({ address: bao.address, token: bao.rootToken, ca: bao.ca });
    const { publicKeyPem } = createJwtIssuer();
    await provision(admin, defaultInstallation, { publicKeyPem, ...issuerDefaults });
    const authorities = { old: await createAuthority('old'), next: await createAuthority('next') };
    const place = { admin, address: bao.address, ca: bao.ca, authorities };
    const orders = ordersOf(changes);
    assert.is(orders.length, 120);
    const results = await Promise.all(
      orders.map((order, number) => runOrder(place, order, gap * 1_000, number, limitOf(allowedMs))),
    );
    await admin.close();
    await bao.stop();
    process.stdout.write(`\n${describe(gap, results)}\n`);
    const isLate = ({ backAfterMs, longestGapMs }: OrderResult) =>
      backAfterMs === undefined || backAfterMs > allowedMs || longestGapMs > allowedMs;
    assert.equal(results.filter(isLate), []);
  });
}

function describe(gap: number, results: readonly OrderResult[]): string {
  const slowest = Math.max(...results.map(({ backAfterMs }) => backAfterMs ?? Number.POSITIVE_INFINITY));
  const longest = Math.max(...results.map(({ longestGapMs }) => longestGapMs));
  const seconds = (ms: number) => `${(ms / 1000).toFixed(0)} s`;
  return `gap ${gap} s: back after at most ${seconds(slowest)}; away for at most ${seconds(longest)} while service was possible`;
}

test.run();
