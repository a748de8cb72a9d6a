// The same unit on an older systemd (252, Debian 12).

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  createSteps,
  exposure,
  isHealthy,
  lostDirectorySteps,
  refusedStartStep,
  reloadStep,
  said,
  unit,
} from '../support/booted.ts';
import { until } from '../support/installation.ts';
import { createKmsClient } from '../support/kms-client.ts';
import { startLoad } from '../support/load.ts';

const { step, end } = createSteps('bookworm');

step('boots, is healthy, and is as confined as on the newer one', async ({ machine }) => {
  await machine.boot();
  await until(() => isHealthy(machine), 'a healthy status line', 30_000);
  assert.match(await said(machine, 'systemctl --version'), /^systemd 252 /u);
  assert.ok((await exposure(machine)) <= 2.4);
});

reloadStep(step);
lostDirectorySteps(step);
refusedStartStep(step);

step('what this systemd does not know of the unit is a warning', async ({ machine }) => {
  const { output } = await machine.run(`systemd-analyze verify ${unit}`);
  assert.match(output, /Unknown key '?(?:name )?'?RestartSteps'?/u);
  await machine.run(`systemctl restart ${unit}`);
  await until(() => isHealthy(machine), 'healthy all the same', 30_000);
});

step('systemctl restart under a load of Decrypts: not one call fails; a stop leaves no socket', async ({ machine }) => {
  const kms = createKmsClient(machine.inside('/run/openbao-kms/kms.sock'));
  const load = await startLoad(kms, { inFlight: 8, methods: ['decrypt'], pauseMs: 5 });
  assert.is((await machine.run(`systemctl restart ${unit}`)).status, 0);
  const before = load.served();
  await until(() => load.served() > before + 100, 'calls after the restart');
  assert.equal(await load.stop(), []);
  kms.close();
  assert.is((await machine.run(`systemctl stop ${unit}`)).status, 0);
  assert.match(await said(machine, 'ls /run/openbao-kms/kms.sock'), /No such file/u);
});

end();

test.run();
