// Files and directories that must not take a running provider away. Each of these fails at 74f8573.

import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { install, quickly } from '../support/installation.ts';
import { type Provider, untilHealthy } from '../support/provider.ts';

const only = process.env['ONLY'];
const when = (name: string, run: () => Promise<void>) => {
  if (only === undefined || name.includes(only)) test(name, run);
};
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const starts = ({ log }: Provider) => log.filter(({ message }) => message === 'plugin.started').length;
const interesting = ({ log }: Provider) =>
  log
    .filter(({ message }) => /plugin\.|credential\.|serve\.|unparsed|directory/u.test(message))
    .map((line) => JSON.stringify(line))
    .join('\n');

when('microseconds: a new JWT whose nbf is far in the future leaves the plugin in office alone', async () => {
  const installed = await install({ change: quickly });
  try {
    const provider = installed.start();
    await untilHealthy(provider);
    const nbf = Date.now() * 1_000;
    installed.workplace.replaceFile(installed.workplace.jwtPath, installed.issuer.issue({ nbf, exp: nbf + 1e9 }));
    await pause(15_000);
    const healthz = await provider.client.status(1_000).then((one) => one.healthz, () => 'unreachable');
    if (starts(provider) !== 1) console.log(interesting(provider), '\nSTATUS', healthz);
    assert.is(starts(provider), 1, 'the plugin in office was never ended');
  } finally {
    await installed.close();
  }
});

when('mtime: a credential file that was modified before 1970 is as good as any other', async () => {
  const installed = await install({ change: quickly });
  try {
    const provider = installed.start();
    await untilHealthy(provider);
    const { workplace, issuer } = installed;
    writeFileSync(`${workplace.jwtPath}.new`, issuer.issue({ jti: 'two' }), { mode: 0o640 });
    chownSync(`${workplace.jwtPath}.new`, workplace.uid, workplace.uid);
    execFileSync('touch', ['-d', '1969-12-30', `${workplace.jwtPath}.new`]);
    renameSync(`${workplace.jwtPath}.new`, workplace.jwtPath);
    await pause(15_000);
    const healthz = await provider.client.status(1_000).then((one) => one.healthz, () => 'unreachable');
    if (starts(provider) !== 1) console.log(interesting(provider), '\nSTATUS', healthz);
    assert.is(starts(provider), 1, 'the plugin in office was never ended');
  } finally {
    await installed.close();
  }
});

for (const [what, breakIt] of [
  ['credentials', (path: string) => chmodSync(path, 0o700)],
  ['eloop', undefined],
] as const) {
  when(`traverse ${what}: a parent of the credentials that may not be passed any more costs no service`, async () => {
    const installed = await install({
      change: (config) => {
        quickly(config);
        const jwt = config['auth']?.['jwt'] as Record<string, unknown>;
        jwt['jwtFile'] = String(jwt['jwtFile']).replace('/etc/', '/outer/creds/');
      },
    });
    try {
      const { workplace, issuer } = installed;
      mkdirSync(`${workplace.directory}/outer`);
      mkdirSync(`${workplace.directory}/outer/creds`, { mode: 0o750 });
      chownSync(`${workplace.directory}/outer/creds`, workplace.uid, workplace.uid);
      workplace.replaceFile(`${workplace.directory}/outer/creds/identity.jwt`, issuer.issue());
      const provider = installed.start();
      await untilHealthy(provider);
      if (breakIt !== undefined) breakIt(`${workplace.directory}/outer`);
      await pause(25_000);
      const healthz = await provider.client.status(1_000).then((one) => one.healthz, () => 'unreachable');
      if (provider.child.exitCode !== null) console.log(provider.text().slice(-2_500), '\nSTATUS', healthz);
      assert.is(provider.child.exitCode, null, 'the supervisor lives');
      assert.is(healthz, 'ok');
    } finally {
      await installed.close();
    }
  });
  if (what === 'credentials') break;
}

test.run();
