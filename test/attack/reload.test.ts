// A reload that begins with a JWT that OpenBao refuses, and the good one arrives while the second plugin proves itself.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createJwtIssuer } from '../support/jwt-issuer.ts';
import { install, quickly } from '../support/installation.ts';
import { untilHealthy } from '../support/provider.ts';

test('the second plugin takes the good JWT too', async () => {
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
    await new Promise((resolve) => setTimeout(resolve, 12_000));
    workplace.replaceFile(workplace.jwtPath, issuer.issue({ jti: 'good' }));
    const end = await provider.line(({ message }) => message === 'reload.done' || message === 'reload.refused', 90_000);
    console.log(
      provider.log
        .filter(({ message }) => /credential|reload|plugin\./u.test(message))
        .map(({ ts, message, generation, reason, detail }) => JSON.stringify([ts, message, generation, reason, detail]))
        .join('\n'),
    );
    assert.is(end.message, 'reload.done');
  } finally {
    await installed.close();
  }
});
test.run();
