// Credential files and directories with something odd about them never take a running provider away: it serves on with what it has.

import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Installed, quickly, withInstallation } from '../support/installation.ts';
import { type Provider, untilHealthy } from '../support/provider.ts';
import type { ConfigDocument } from '../support/workplace.ts';

const starts = ({ log }: Provider) => log.filter(({ message }) => message === 'plugin.started').length;

async function serves(provider: Provider): Promise<void> {
  assert.is((await provider.client.status()).healthz, 'ok');
  assert.is(starts(provider), 1, 'the incumbent was never ended');
  assert.is(provider.child.exitCode, null, 'the supervisor lives');
}

test('a JWT whose nbf is given in microseconds waits for its time, far ahead', () =>
  withInstallation(async ({ start, workplace, issuer }) => {
    const provider = start();
    await untilHealthy(provider);
    const nbf = Date.now() * 1_000;
    workplace.replaceFile(workplace.jwtPath, issuer.issue({ nbf, exp: nbf + 1e9 }));
    await provider.event('credential.unproven', 30_000);
    await serves(provider);
  }));

test('a credential file that was modified before 1970 is as good as any other', () =>
  withInstallation(async ({ start, workplace, issuer }) => {
    const provider = start();
    await untilHealthy(provider);
    const next = `${workplace.jwtPath}.new`;
    writeFileSync(next, issuer.issue({ jti: 'two' }), { mode: 0o640 });
    if (process.geteuid?.() === 0) chownSync(next, workplace.uid, workplace.uid);
    execFileSync('touch', ['-d', '1969-12-30', next]);
    renameSync(next, workplace.jwtPath);
    await provider.line((line) => line.message === 'credential.in_use' && line['credential_generation'] === 2, 30_000);
    await serves(provider);
  }));

test('a parent of the credentials that may not be passed any more is told and costs no service', () =>
  withInstallation(
    async ({ start, workplace, issuer }: Installed) => {
      const outer = `${workplace.directory}/outer`;
      mkdirSync(`${outer}/creds`, { recursive: true, mode: 0o750 });
      const isRoot = process.geteuid?.() === 0;
      chmodSync(outer, 0o755);
      if (isRoot) chownSync(`${outer}/creds`, workplace.uid, workplace.uid);
      workplace.replaceFile(`${outer}/creds/identity.jwt`, issuer.issue());
      const provider = start();
      await untilHealthy(provider);
      chmodSync(outer, isRoot ? 0o700 : 0o000);
      const gone = await provider.event('directory.gone', 30_000);
      chmodSync(outer, 0o755);
      assert.equal([gone['name'], gone['reason']], ['credentials', 'unreachable']);
      await serves(provider);
      await provider.event('directory.found', 30_000);
    },
    { change: belowOuter },
  ));

function belowOuter(config: ConfigDocument): void {
  quickly(config);
  const jwt = config['auth']?.['jwt'] as Record<string, unknown>;
  jwt['jwtFile'] = String(jwt['jwtFile']).replace('/etc/', '/outer/creds/');
}

test.run();
