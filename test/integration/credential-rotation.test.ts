// Fifty rotations of the JWT and of OpenBao's CA, with the server's certificate changing hands, under load: each comes into
// use and no call is lost. One proof of a name every five seconds makes this the longest file; it mostly waits.

import { writeFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Installed, withInstallation } from '../support/installation.ts';
import { startLoad } from '../support/load.ts';
import { createAuthority, createLeaf } from '../support/pki.ts';
import { type Provider, untilHealthy } from '../support/provider.ts';

const rotations = 50;

const inUse = (provider: Provider, name: string, generation: number) =>
  provider.line(
    (line) =>
      line.message === 'credential.in_use' && line['name'] === name && line['credential_generation'] === generation,
    30_000,
  );

async function rotateJwt(provider: Provider, { workplace, issuer }: Installed): Promise<void> {
  for (let round = 1; round <= rotations; round += 1) {
    workplace.replaceFile(workplace.jwtPath, issuer.issue({ jti: String(round) }));
    await inUse(provider, 'jwt', round + 1);
  }
}

/** Trust grows by the new authority, the server changes its certificate, trust shrinks to the new one: two generations. */
async function rotateCa(provider: Provider, { workplace, bao, authority }: Installed): Promise<void> {
  let old = authority;
  for (let round = 1; round <= rotations; round += 2) {
    const next = await createAuthority(`CA ${round}`);
    workplace.replaceFile(workplace.caPath, `${old.pem}${next.pem}`, 0o644);
    await inUse(provider, 'openbao_ca', round + 1);
    bao.useLeaf(await createLeaf(next));
    workplace.replaceFile(workplace.caPath, next.pem, 0o644);
    await inUse(provider, 'openbao_ca', round + 2);
    old = next;
  }
}

test(`${rotations} rotations of the JWT and of the CA under load: each comes into use, no call fails`, () =>
  withInstallation(async (installed) => {
    const provider = installed.start();
    await untilHealthy(provider);
    const pid = provider.pluginPid();
    const load = await startLoad(provider.client, { inFlight: 8, pauseMs: 20 });
    await Promise.all([rotateJwt(provider, installed), rotateCa(provider, installed)]);
    assert.equal(await load.stop(), []);
    assert.ok(load.served() > 20 * rotations, `calls all the while: ${load.served()}`);
    assert.is(provider.pluginPid(), pid, 'no restart');
    const metrics = await provider.metrics();
    assert.match(metrics, new RegExp(`credential_generation\\{name="jwt"\\} ${rotations + 1}`, 'u'));
    assert.match(metrics, new RegExp(`credential_generation\\{name="openbao_ca"\\} ${rotations + 1}`, 'u'));
    assert.match(metrics, /credential_file_age_seconds\{name="jwt"\} \d/u);
  }));

test('a JWT that is written in two parts is refused half, changes nothing, and comes into use whole', () =>
  withInstallation(async ({ start, workplace, issuer }) => {
    const provider = start();
    await untilHealthy(provider);
    const jwt = issuer.issue({ jti: 'in two parts' });
    writeFileSync(workplace.jwtPath, jwt.slice(0, jwt.length / 2));
    const refused = await provider.line(
      (line) => line.message === 'credential.refused' && line['name'] === 'jwt' && line['credential_generation'] === 2,
    );
    assert.is(refused['error_class'], 'jwt_malformed');
    assert.is((await provider.client.status()).healthz, 'ok');
    writeFileSync(workplace.jwtPath, jwt);
    await inUse(provider, 'jwt', 3);
    assert.match(
      await provider.metrics(),
      /credential_refusals_total\{name="jwt",class="jwt_malformed"\} 1/u,
      'counted by class',
    );
  }));

test('a CA that does not verify the server is refused with its class, and the old one stays in use', () =>
  withInstallation(async ({ start, workplace }) => {
    const provider = start();
    await untilHealthy(provider);
    workplace.replaceFile(workplace.caPath, (await createAuthority('a stranger')).pem, 0o644);
    const refused = await provider.line((line) => line.message === 'credential.refused', 30_000);
    assert.equal([refused['name'], refused['error_class']], ['openbao_ca', 'tls_failed']);
    assert.is((await provider.client.status()).healthz, 'ok');
  }));

test.run();
