// T02 local key exposure: after a full run nothing that the provider wrote, was given or shows holds a seed or key material.

import { randomBytes } from 'node:crypto';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { withInstallation } from '../../support/installation.ts';
import { untilHealthy } from '../../support/provider.ts';
import { filesBelow, found, processText } from '../../support/search.ts';

test('no seed and no key material in files, log, metrics, arguments or environment', () =>
  withInstallation(
    async ({ start, engine, workplace }) => {
      const provider = start();
      await untilHealthy(provider);
      const seed = randomBytes(32);
      const encrypted = await provider.client.encrypt(seed);
      await provider.client.decrypt(encrypted);
      const material = [...engine.keys.values()][0]?.versions.get(1)?.material ?? Buffer.alloc(0);
      const canaries = { seed, material };
      const places = [
        provider.text(),
        await provider.metrics(),
        processText(provider.pluginPid()),
        processText(provider.child.pid ?? 0),
      ];
      for (const text of [...places, ...filesBelow(workplace.directory).values()])
        assert.equal(found(text, canaries), []);
    },
    {
      change: (config) => {
        config['logging'] = { level: 'debug' };
      },
    },
  ));

test.run();
