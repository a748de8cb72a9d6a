// T12 a filter that a plugin put on a listener of the diagnostics outlives it: handshakes hang, or pass while every request is dropped.
// The look notices both, and the ports are served again although the plugin that serves still has the old listeners.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { until, withInstallation } from '../../support/installation.ts';
import { filterDescriptor, hasNativeTools } from '../../support/native-tools.ts';
import { freePort } from '../../support/ports.ts';
import { untilHealthy } from '../../support/provider.ts';
import { skipWithout } from '../../support/skip.ts';

const [metrics, health] = [5, 6];

if (!skipWithout(hasNativeTools, 'T12 filter', 'root and a C compiler')) {
  // A port that is tried again is the one of the configuration.
  const ports = { metricsAddress: `127.0.0.1:${await freePort()}`, healthAddress: `127.0.0.1:${await freePort()}` };

  test('ports on which a plugin left a filter are served again within two minutes', () =>
    withInstallation(
      async ({ start }) => {
        const provider = start();
        await untilHealthy(provider);
        filterDescriptor(provider.pluginPid(), metrics, 'deaf');
        filterDescriptor(provider.pluginPid(), health, 'mute');
        process.kill(provider.pluginPid(), 'SIGKILL');
        await provider.line((line) => line.message === 'plugin.started' && line['launch'] === 2);
        await untilHealthy(provider);
        for (const name of ['metrics', 'health']) {
          await provider.line((line) => line.message === 'port.shut' && line['name'] === name, 80_000);
        }
        const isServed = async () => {
          const answers = await Promise.all([provider.ready(), provider.metrics()]).catch(() => undefined);
          return answers?.[0].status === 200 && answers[1].includes('openbao_kms_status_healthy 1');
        };
        await until(isServed, '/ready and /metrics', 60_000);
        const sealed = await provider.client.encrypt(Buffer.from('a seed'));
        assert.is((await provider.client.decrypt(sealed)).plaintext.toString(), 'a seed');
      },
      {
        change: (config) => {
          config['server'] = { ...(config['server'] as Record<string, unknown>), ...ports };
        },
      },
    ));
}

test.run();
