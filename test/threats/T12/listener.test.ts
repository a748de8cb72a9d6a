// T12 the listeners outlive the plugin, and what it did to them must not: one that it shut down in machine code is bound anew, at the
// next launch at once, and under a plugin that stays within half a minute.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Installed, install, until } from '../../support/installation.ts';
import { hasNativeTools, shutDownDescriptor } from '../../support/native-tools.ts';
import { type Provider, untilHealthy } from '../../support/provider.ts';
import { skipWithout } from '../../support/skip.ts';

const [kms, metrics, health] = [4, 5, 6];

async function withProvider(run: (provider: Provider, installed: Installed) => Promise<void>): Promise<void> {
  const installed = await install();
  try {
    const provider = installed.start();
    await untilHealthy(provider);
    await run(provider, installed);
  } finally {
    await installed.close();
  }
}

const isOnce = (provider: Provider, message: string) =>
  provider.log.filter((line) => line.message === message).length === 1;

/** Until both ports of the diagnostics answer, and say that all is well. */
async function untilDiagnosed(provider: Provider): Promise<void> {
  await until(async () => (await provider.ready().catch(() => undefined))?.status === 200, '/ready');
  assert.match(await provider.metrics(), /openbao_kms_status_healthy 1/u);
}

const killed = () =>
  withProvider(async (provider) => {
    shutDownDescriptor(provider.pluginPid(), kms);
    process.kill(provider.pluginPid(), 'SIGKILL');
    await provider.line((line) => line.message === 'socket.replaced');
    await untilHealthy(provider);
    const sealed = await provider.client.encrypt(Buffer.from('a seed'));
    assert.is((await provider.client.decrypt(sealed)).plaintext.toString(), 'a seed');
    // What is good now stays as it is.
    process.kill(provider.pluginPid(), 'SIGKILL');
    await provider.line((line) => line.message === 'plugin.started' && line['launch'] === 3);
    await untilHealthy(provider);
    assert.ok(isOnce(provider, 'socket.replaced'));
  });

const staying = () =>
  withProvider(async (provider) => {
    const before = provider.pluginPid();
    shutDownDescriptor(before, kms);
    await provider.line((line) => line.message === 'socket.replaced', 45_000);
    assert.is.not(provider.pluginPid(), before);
    // The one before may still answer on the old connection, and the new one begins unhealthy.
    const isServed = async () => {
      try {
        const sealed = await provider.client.encrypt(Buffer.from('a seed'));
        return (await provider.client.decrypt(sealed)).plaintext.toString() === 'a seed';
      } catch {
        return false;
      }
    };
    await until(isServed, 'an Encrypt and its Decrypt');
  });

const diagnostics = () =>
  withProvider(async (provider) => {
    shutDownDescriptor(provider.pluginPid(), metrics);
    shutDownDescriptor(provider.pluginPid(), health);
    process.kill(provider.pluginPid(), 'SIGKILL');
    for (const name of ['metrics', 'health']) {
      await provider.line((line) => line.message === 'port.replaced' && line['name'] === name);
    }
    await untilHealthy(provider);
    await untilDiagnosed(provider);
  });

const stayingWithoutPorts = () =>
  withProvider(async (provider) => {
    const before = provider.pluginPid();
    shutDownDescriptor(before, metrics);
    shutDownDescriptor(before, health);
    for (const name of ['metrics', 'health']) {
      await provider.line((line) => line.message === 'port.replaced' && line['name'] === name, 45_000);
    }
    // The new descriptors can be handed over at a launch only.
    await provider.event('port.served');
    assert.is.not(provider.pluginPid(), before);
    await untilDiagnosed(provider);
    assert.ok(isOnce(provider, 'port.served'), 'one plugin for both');
  });

const crashing = () =>
  withProvider(async (provider) => {
    for (let count = 0; count < 3; count += 1) {
      const seen = provider.log.length;
      process.kill(provider.pluginPid(), 'SIGKILL');
      await until(() => provider.log.slice(seen).some(({ message }) => message === 'plugin.started'), 'the relaunch');
      await untilHealthy(provider);
    }
    for (const message of ['socket.replaced', 'port.replaced']) {
      assert.not.ok(provider.log.some((line) => line.message === message));
    }
  });

if (!skipWithout(hasNativeTools, 'T12 listeners', 'root and a C compiler')) {
  /** All side by side: two of them wait for the look every 30 s. */
  const started = [killed(), staying(), diagnostics(), stayingWithoutPorts(), crashing()] as const;
  for (const promise of started) promise.catch(() => {});

  test('a socket that was shut down is bound anew before the next plugin, and once', () => started[0]);

  test('a plugin that shut its own socket down and stays is found out and replaced', () => started[1]);

  test('ports of the diagnostics that were shut down are bound anew', () => started[2]);

  test('a plugin that shut its ports of the diagnostics down and stays is replaced by one that serves them', () =>
    started[3]);

  test('a crash alone is no reason: the listeners go on, and with them whoever waits there', () => started[4]);
}

test.run();
