// A reload that begins with a JWT that OpenBao refuses: the good one arrives while the second plugin proves itself; and what is only
// prepared is not in force.

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
    await provider.line((line) => line.message === 'plugin.started' && line['launch'] === 2, 30_000);
    await provider.line((line) => line.message === 'auth.login' && line['status'] !== 'ok', 30_000);
    workplace.replaceFile(workplace.jwtPath, issuer.issue({ jti: 'good' }));
    const end = await provider.line(({ message }) => message === 'reload.done' || message === 'reload.refused', 90_000);
    assert.is(end.message, 'reload.done');
  } finally {
    await installed.close();
  }
});

test('while another configuration is prepared, the incumbent hears of its own files and of none that only the other one names', async () => {
  const installed = await install({
    change: (config) => {
      quickly(config);
      config['bootstrap'] = { graceTimeout: '60s', retryInterval: '500ms' };
    },
  });
  try {
    const { workplace, issuer } = installed;
    const stranger = createJwtIssuer();
    const otherPath = `${workplace.jwtPath}.other`;
    const provider = installed.start();
    await untilHealthy(provider);
    workplace.replaceFile(otherPath, stranger.issue({ jti: 'one' }));
    workplace.writeConfig((config) => {
      ((config['auth'] as Record<string, Record<string, unknown>>)['jwt'] ?? {})['jwtFile'] = otherPath;
    });
    provider.child.kill('SIGHUP');
    await provider.line((line) => line.message === 'plugin.started' && line['launch'] === 2, 30_000);
    const ofJwt = (message: string, generation: number) =>
      provider.line(
        (line) => line.message === message && line['name'] === 'jwt' && line['credential_generation'] === generation,
      );
    workplace.replaceFile(workplace.jwtPath, issuer.issue({ jti: 'two' }));
    await ofJwt('credential.in_use', 2);
    workplace.replaceFile(otherPath, stranger.issue({ jti: 'three' }));
    await ofJwt('credential.changed', 3);
    workplace.replaceFile(otherPath, issuer.issue({ jti: 'four' }));
    await provider.event('reload.done', 60_000);
    const saidByIncumbent = ['credential.refused', 'credential.unproven'];
    assert.equal(
      provider.log.filter(({ message }) => saidByIncumbent.includes(message)),
      [],
    );
    // From now on the other file is the one.
    workplace.replaceFile(workplace.jwtPath, issuer.issue({ jti: 'of nobody' }));
    workplace.replaceFile(otherPath, issuer.issue({ jti: 'five' }));
    await ofJwt('credential.in_use', 5);
  } finally {
    await installed.close();
  }
});

test.run();
