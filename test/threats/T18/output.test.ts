// T18 the log: a plugin that was taken over silences nobody by closing its standard error, says nothing in the supervisor's name, sends
// no control character to a terminal, floods nothing, and leaves no process behind that could.

import { closeSync, existsSync, openSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { withExchangeable } from '../../support/exchangeable.ts';
import { createExchangeableDistribution } from '../../support/hostile-distribution.ts';
import { tellsOf, trialIn } from '../../support/hostile-words.ts';
import { install, until } from '../../support/installation.ts';
import { untilHealthy } from '../../support/provider.ts';

test('one that closes its standard error ends its own output only', () =>
  withExchangeable(async ({ provider, turnHostile, turnGood }) => {
    await turnHostile('closes its standard error');
    // Its health came before its `ready`.
    await provider.line((line) => line.message === 'plugin.violation');
    turnGood();
    const seen = provider.log.length;
    await untilHealthy(provider, 40_000);
    const after = provider.log.slice(seen);
    assert.ok(after.some((line) => line.message === 'plugin.started' && line['process'] === 'supervisor'));
    assert.ok(after.some((line) => line.message === 'auth.login' && line['process'] === 'plugin'));
  }));

test('what it writes is marked as its own, escaped, cut and counted', () =>
  withExchangeable(async ({ provider, turnHostile, turnGood }) => {
    await turnHostile('speaks in our name');
    await provider.line((line) => line.message === 'plugin.violation');
    turnGood();
    await untilHealthy(provider, 40_000);
    const { log } = provider;
    const processesOf = (event: string) => log.filter(({ message }) => message === event).map((line) => line.process);
    assert.equal(processesOf('clock.regressed'), ['plugin']);
    for (const event of ['serve.shutdown', 'reload.done', 'all.well']) assert.equal(processesOf(event), [], event);
    const output = log.filter((line) => line.message === 'plugin.output').map((line) => String(line['output']));
    assert.ok(output.includes('\u001b[2Jcanary-control'), 'kept, as a JSON string');
    assert.not.ok(provider.text().includes('\u001b'));
    for (const part of ['canary-member', '"reload.done"', '"all.well"']) {
      assert.ok(output.some((text) => text.includes(part)));
    }
    assert.ok(output.every((text) => text.length <= 512));
    assert.ok(output.filter((text) => text === 'canary-flood').length <= 1_000);
    assert.ok(log.some((line) => line.message === 'plugin.output_dropped' && Number(line['suppressed']) > 1_000));
  }));

test('a process that it started natively ends with it', async () => {
  const distribution = createExchangeableDistribution();
  distribution.dropPermissionModel();
  const installed = await install({ distribution: distribution.directory });
  try {
    await distribution.turnHostile('leaves a process behind', { state: '', jwt: '', run: '' });
    const provider = installed.start();
    const pid = trialIn(await provider.line(tellsOf('left')))?.outcome;
    await provider.line((line) => line.message === 'plugin.exited');
    await until(() => !existsSync(`/proc/${pid}`), 'the end of what it left', 5_000);
  } finally {
    await installed.close();
    distribution.remove();
  }
});

test('a descriptor that the supervisor was started with reaches neither it nor its plugin', async () => {
  const path = join(tmpdir(), `bao-kms-inherited-${process.pid}`);
  writeFileSync(path, 'canary');
  const installed = await install();
  const descriptor = openSync(path, 'r');
  try {
    // Beyond the first ones, which the runtime closes to its children by itself.
    const shell = ['/bin/bash', '-c', `exec 60</proc/${process.pid}/fd/${descriptor}; exec "$0" "$@"`];
    const provider = installed.start([], shell);
    await untilHealthy(provider);
    const opened = (pid: number) =>
      readdirSync(`/proc/${pid}/fd`).map((name) => {
        try {
          return readlinkSync(`/proc/${pid}/fd/${name}`);
        } catch {
          return '';
        }
      });
    assert.not.ok(opened(provider.pluginPid()).includes(path));
    assert.not.ok(opened(provider.child.pid ?? 0).includes(path));
  } finally {
    closeSync(descriptor);
    await installed.close();
    rmSync(path, { force: true });
  }
});

test.run();
