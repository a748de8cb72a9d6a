// SIGHUP: a second plugin on the same descriptors, then a drain that loses nothing. What cannot be changed is refused, and
// then the first plugin stays. Credentials come in by directory, however they are swapped.

import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { lstatSync, mkdirSync, renameSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Installed, until, withInstallation } from '../support/installation.ts';
import { type Provider, untilHealthy } from '../support/provider.ts';

/** Calls without a pause until it is told to stop. */
function createLoad(provider: Provider, inFlight: number) {
  const errors: string[] = [];
  const load = { served: 0, isOver: false };
  const workers = Array.from({ length: inFlight }, async () => {
    while (!load.isOver) {
      await provider.client.encrypt(randomBytes(32), 'u', 10_000).then(
        () => {
          load.served += 1;
        },
        (error: unknown) => errors.push(String(error)),
      );
    }
  });
  return {
    served: () => load.served,
    stop: async () => {
      load.isOver = true;
      await Promise.all(workers);
      return errors;
    },
  };
}

const count = (provider: Provider, message: string) => provider.log.filter((line) => line.message === message).length;

test('20 replacements at 16 in flight: no failed call, the same socket, the same supervisor', () =>
  withInstallation(async ({ start, workplace }) => {
    const provider = start();
    await untilHealthy(provider);
    const inode = lstatSync(workplace.socketPath).ino;
    const load = createLoad(provider, 16);
    for (let round = 1; round <= 20; round += 1) {
      const before = provider.pluginPid();
      provider.child.kill('SIGHUP');
      await until(() => count(provider, 'reload.done') === round, `replacement ${round}`, 30_000);
      assert.is.not(provider.pluginPid(), before);
    }
    const served = load.served();
    await until(() => load.served() > served + 50, 'service after the last one');
    assert.equal(await load.stop(), []);
    assert.is(lstatSync(workplace.socketPath).ino, inode);
    assert.is((await provider.client.status()).healthz, 'ok');
    assert.match(await provider.metrics(), /openbao_kms_plugin_restarts_total\{reason="reload"\} 20/u);
    await until(() => count(provider, 'plugin.drained') === 20, 'the drains');
    assert.is(provider.log.filter((line) => line.message === 'plugin.drained' && line['calls_cut'] !== 0).length, 0);
  }));

test('a reload that changes the identity says that a restart is refused too, and why; and so it is', () =>
  withInstallation(async ({ start, workplace }) => {
    const provider = start();
    await untilHealthy(provider);
    workplace.writeConfig((config) => {
      const transit = config['transit'] as { keyName: string; keyIdScope: { clusterId: string } };
      transit.keyName = 'other';
      transit.keyIdScope.clusterId = 'other';
      (config['server'] as Record<string, unknown>)['healthAddress'] = '127.0.0.1:9';
    });
    provider.child.kill('SIGHUP');
    const line = await provider.event('reload.refused');
    const problems = line['problems'] as string[];

    assert.equal(
      problems.map((text) => text.split(':')[0]),
      ['transit.keyIdScope.clusterId', 'transit.keyName', 'server.healthAddress'],
    );
    assert.match(
      problems[1] ?? '',
      /identity of what is encrypted.*a restart is refused too.*registry state at state\.path/u,
    );
    assert.match(problems[2] ?? '', /: cannot be changed by a reload; restart the service for that$/u);
    assert.match(String(line['hint']), /^transit\.keyIdScope\.clusterId: .*a restart is refused too.*; and 2 more$/u);
    await provider.stop();
    const restarted = start();
    assert.is(await restarted.exited, 5);
    const refusal = restarted.log.find(({ message }) => message === 'gate.refused');
    assert.equal([refusal?.['check'], refusal?.['reason']], ['gate.state', 'state_binding']);
  }));

test('a changed configuration comes into use with the reload', () =>
  withInstallation(async ({ start, workplace }) => {
    const provider = start();
    await untilHealthy(provider);
    workplace.writeConfig((config) => {
      config['logging'] = { level: 'debug' };
      config['status'] = { probeInterval: '1s', deepProbeInterval: '2s', statusMaxStaleness: '77s' };
    });
    provider.child.kill('SIGHUP');
    await provider.event('reload.done');
    await until(async () => /status_max_staleness_seconds 77/u.test(await provider.metrics()), 'the new bound');
    await provider.client.encrypt(randomBytes(32));
    await provider.event('kms.request');
  }));

test('a plugin that dies while its successor starts: the relaunch runs with the changed configuration, and the log says so', () =>
  withInstallation(async ({ start, workplace }) => {
    const provider = start();
    await untilHealthy(provider);
    const before = provider.pluginPid();
    workplace.writeConfig((config) => {
      config['status'] = { probeInterval: '1s', deepProbeInterval: '2s', statusMaxStaleness: '77s' };
    });
    provider.child.kill('SIGHUP');
    await provider.line((line) => line.message === 'plugin.started' && line['pid'] !== before);
    process.kill(before, 'SIGKILL');
    await provider.event('reload.done', 40_000);
    await until(async () => /status_max_staleness_seconds 77/u.test(await provider.metrics()), 'the new bound');
    assert.is(count(provider, 'reload.done'), 1);
    assert.match(await provider.metrics(), /openbao_kms_plugin_restarts_total\{reason="signal"\} 1/u);
  }));

type Refused = readonly [string, (installed: Installed) => void, string];
const refused: readonly Refused[] = [
  [
    'an identity field',
    ({ workplace }) =>
      workplace.writeConfig((config) => {
        (config['transit'] as Record<string, unknown>)['keyName'] = 'other';
      }),
    'gate.config',
  ],
  [
    'another address',
    ({ workplace }) =>
      workplace.writeConfig((config) => {
        (config['server'] as Record<string, unknown>)['metricsAddress'] = '127.0.0.1:9';
      }),
    'gate.config',
  ],
  [
    'a configuration with a mistake',
    ({ workplace }) => workplace.replaceFile(workplace.configPath, 'configVersion: v2\n'),
    'gate.config',
  ],
  ['an unsafe JWT file', ({ workplace }) => execFileSync('chmod', ['0644', workplace.jwtPath]), 'gate.credentials'],
  [
    'an unsafe runtime directory',
    ({ workplace }) => execFileSync('chmod', ['0770', `${workplace.directory}/run`]),
    'gate.runtime_directory',
  ],
];

for (const [what, breakIt, check] of refused) {
  test(`a reload with ${what} is refused by ${check}, and the incumbent stays`, () =>
    withInstallation(async (installed) => {
      const provider = installed.start();
      await untilHealthy(provider);
      const before = provider.pluginPid();
      breakIt(installed);
      provider.child.kill('SIGHUP');
      const line = await provider.event('reload.refused');
      assert.is(line['check'], check);
      assert.is(provider.pluginPid(), before);
      assert.is((await provider.client.status()).healthz, 'ok');
    }));
}

test('a second plugin that does not become healthy never takes over, and the first serves on', () =>
  withInstallation(
    async ({ start, bao, workplace, issuer }) => {
      const provider = start();
      await untilHealthy(provider);
      const before = provider.pluginPid();
      const inUse = new Set([...bao.access.tokens.keys()]);
      // Logins fail from now on, the token of the first plugin lives.
      bao.fault = ({ path }) => (path.endsWith('/login') ? 'close' : undefined);
      provider.child.kill('SIGHUP');
      await provider.line((line) => line.message === 'plugin.started' && line['pid'] !== before);
      assert.is((await provider.client.status()).healthz, 'ok');
      await provider.event('reload.refused', 40_000);
      assert.is((await provider.client.encrypt(randomBytes(32))).ciphertext.length > 0, true);
      assert.ok(inUse.size > 0 && workplace.uid > 0 && issuer.publicKeyPem !== '');
    },
    {
      change: (config) => {
        config['bootstrap'] = { graceTimeout: '1s', retryInterval: '200ms' };
      },
    },
  ));

test('a JWT behind a directory link is noticed when the link is swapped, within the quiet period', () =>
  withInstallation(async ({ start, workplace, issuer }) => {
    const base = `${workplace.directory}/volume`;
    const put = (name: string, jwt: string) => {
      mkdirSync(`${base}/${name}`, { recursive: true });
      writeFileSync(`${base}/${name}/token`, jwt, { mode: 0o640 });
      execFileSync('chown', ['-R', `${workplace.uid}`, base]);
      execFileSync('chgrp', ['-R', process.geteuid?.() === 0 ? `${workplace.uid}` : String(process.getegid?.()), base]);
      symlinkSync(name, `${base}/..next`);
      renameSync(`${base}/..next`, `${base}/..data`);
    };
    put('..one', issuer.issue());
    workplace.writeConfig((config) => {
      ((config['auth'] as Record<string, Record<string, unknown>>)['jwt'] ?? {})['jwtFile'] = `${base}/..data/token`;
    });
    const provider = start();
    await untilHealthy(provider);
    put('..two', issuer.issue({ jti: 'two' }));
    await provider.line(
      (line) => line.message === 'credential.in_use' && line['name'] === 'jwt' && line['credential_generation'] === 2,
      5_000,
    );
  }));

test('a hundred rewrites in a burst are one or few generations, a vanished file changes nothing', () =>
  withInstallation(async ({ start, workplace, issuer }) => {
    const provider = start();
    await untilHealthy(provider);
    for (let index = 0; index < 100; index += 1)
      workplace.replaceFile(workplace.jwtPath, issuer.issue({ jti: String(index) }));
    await provider.line(
      (line) => line.message === 'credential.in_use' && line['name'] === 'jwt' && line['credential_generation'] !== 1,
      15_000,
    );
    const generations = provider.log.filter(
      (line) => line.message === 'credential.changed' && line['name'] === 'jwt',
    ).length;
    assert.ok(generations <= 20, `${generations} generations`);
    unlinkSync(workplace.jwtPath);
    await provider.line((line) => line.message === 'credential.refused' && line['reason'] === 'file_missing', 15_000);
    assert.is((await provider.client.status()).healthz, 'ok');
  }));

test.run();
