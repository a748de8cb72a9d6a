// A reload that begins with a JWT that OpenBao refuses, and the good one arrives while the second plugin proves itself.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { install, quickly } from '../support/installation.ts';
import { createJwtIssuer } from '../support/jwt-issuer.ts';
import { untilHealthy } from '../support/provider.ts';

test('a second plugin that proves itself takes a good JWT that arrives meanwhile', async () => {
  const installed = await install({
    change: (config) => {
      quickly(config);
      config['bootstrap'] = { graceTimeout: '60s', retryInterval: '500ms' };
    },
  });
  try {
    const { workplace, issuer } = installed;
    const provider = installed.start();
    await untilHealthy(provider);
    workplace.replaceFile(workplace.jwtPath, createJwtIssuer().issue({ jti: 'of a foreign key' }));
    await provider.event('credential.refused', 30_000);
    provider.child.kill('SIGHUP');
    await provider.line((line) => line.message === 'plugin.started' && line['generation'] === 2, 30_000);
    await provider.line((line) => line.message === 'auth.login' && line['status'] !== 'ok', 30_000);
    workplace.replaceFile(workplace.jwtPath, issuer.issue({ jti: 'good' }));
    const end = await provider.line(({ message }) => message === 'reload.done' || message === 'reload.refused', 90_000);
    assert.is(end.message, 'reload.done');
  } finally {
    await installed.close();
  }
});
test.run();
