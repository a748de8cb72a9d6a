// The Go client of the benchmark does what it says it measured: its calls arrive, refusals are counted as failures, and what is not
// there is waited for.

import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { buildGoClient, startGoClient } from '../bench/go-client.ts';
import type { LoadClient, Target } from '../bench/load.ts';
import { type Installed, withInstallation } from '../support/installation.ts';
import { defaultInstallation } from '../support/openbao/provision.ts';
import { skipWithout } from '../support/skip.ts';

function withClient(title: string, run: (client: LoadClient, installed: Installed) => Promise<void>): void {
  test(title, async () => {
    const client = buildGoClient();
    const missing = 'missing' in client ? client.missing : '';
    if (skipWithout(missing === '', title, missing) || 'missing' in client) return;
    await withInstallation(async (installed) => {
      const { bao, workplace } = installed;
      const { mountPath, keyName } = defaultInstallation;
      const token = bao.rootToken;
      const ca = readFileSync(workplace.caPath, 'utf8');
      const addresses = { ...workplace, address: bao.address, ca, mountPath, keyName, token };
      const started = startGoClient(client.path, addresses);
      try {
        await run(started, installed);
      } finally {
        await started.close();
      }
    });
  });
}

withClient(
  'each target is measured: as many calls as were ordered, none of them refused',
  async (client, installed) => {
    installed.start();
    await client.first('ok');
    await client.prepare(20);
    const targets: readonly Target[] = ['status', 'encrypt', 'decrypt', 'raw-encrypt', 'raw-decrypt'];
    for (const target of targets) {
      const { begun, measured } = client.measure({ target, inFlight: 4, connections: 2, calls: 50, warmUp: 8 });
      await begun;
      const { served, failed, errors, p50Ms, p99Ms, longestGapMs } = await measured;
      assert.equal({ target, served, failed, errors }, { target, served: 50, failed: 0, errors: {} });
      assert.ok(p50Ms > 0 && p99Ms >= p50Ms && longestGapMs > 0);
    }
  },
);

withClient('what is refused is counted as failed, with its words, and in no rate', async (client, installed) => {
  installed.start();
  await client.first('ok');
  await client.prepare(1);
  await installed.bao.close();
  const { measured } = client.measure({ target: 'decrypt', inFlight: 2, calls: 6 });
  const { served, perSecond, failed, errors } = await measured;
  assert.equal({ served, perSecond, failed }, { served: 0, perSecond: 0, failed: 6 });
  assert.match(Object.keys(errors).join(' '), /rpc error/u);
});

withClient('a measurement without an end goes on until it is stopped', async (client, installed) => {
  installed.start();
  await client.first('ok');
  const { begun, measured, stop } = client.measure({ target: 'status', inFlight: 2 });
  await begun;
  stop();
  assert.is((await measured).failed, 0);
});

withClient('an order that cannot be obeyed is an error', async (client, installed) => {
  installed.start();
  await client.first('answer');
  const refusal = await client
    .measure({ target: 'decrypt', inFlight: 1, calls: 1 })
    .measured.catch((error: Error) => error.message);
  assert.match(String(refusal), /nothing is prepared/u);
});

test.run();
