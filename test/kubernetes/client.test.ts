// With the API server's own client code (its library, not the server): what it stores, a rotation in the middle of continuous
// writes, a restart of the API server during an outage, two API servers at different moments of a promotion, and our restart.

import { randomBytes } from 'node:crypto';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  buildEnvelopeClient,
  type EnvelopeClient,
  type Stored,
  startEnvelopeClient,
} from '../support/envelope-client.ts';
import { type Installed, quickly, until, withInstallation } from '../support/installation.ts';
import { startProvider, untilHealthy } from '../support/provider.ts';
import { skipWithout } from '../support/skip.ts';
import { createWorkplace, type Workplace } from '../support/workplace.ts';

const providerName = 'openbao-kms-test';
let built: ReturnType<typeof buildEnvelopeClient> | undefined;

type World = { readonly installed: Installed; readonly client: (workplace: Workplace) => EnvelopeClient };

function withClient(title: string, run: (world: World) => Promise<void>): void {
  test(title, async () => {
    built ??= buildEnvelopeClient();
    const { binary, missing } = { binary: undefined, missing: undefined, ...built };
    if (skipWithout(binary !== undefined, `API server's client: ${title}`, missing ?? '') || binary === undefined)
      return;
    const clients: EnvelopeClient[] = [];
    await withInstallation(
      async (installed) => {
        const client = ({ socketPath }: Workplace) => {
          const started = startEnvelopeClient({ binary, socketPath, providerName });
          clients.push(started);
          return started;
        };
        try {
          await run({ installed, client });
        } finally {
          await Promise.all(clients.map((one) => one.stop()));
        }
      },
      {
        change: (config) => {
          config['rotation'] = { activationDelay: '1s', requireStableObservationCount: 1 };
        },
      },
    );
  });
}

const rotate = ({ engine }: Installed) =>
  engine.handle('write', 'keys/k8s-demo-etcd/rotate', {}, Math.floor(Date.now() / 1000));
const reads = async (client: EnvelopeClient, stored: Stored) => (await client.read(stored)).data.toString();
const untilWell = (client: EnvelopeClient) =>
  until(async () => (await client.healthz()) === 'ok', 'healthz of the client', 30_000);

withClient('what is stored is a KMS v2 envelope of ours and holds nothing in clear', async ({ installed, client }) => {
  const keyId = await untilHealthy(installed.start());
  const apiServer = client(installed.workplace);
  await untilWell(apiServer);
  const canary = randomBytes(24).toString('hex');
  const stored = await apiServer.write('canary', Buffer.from(canary));
  assert.ok(stored.bytes.subarray(0, 33).toString('latin1').startsWith(`k8s:enc:kms:v2:${providerName}:`));
  assert.ok(stored.bytes.includes(Buffer.from(keyId)), 'our key_id');
  assert.ok(stored.bytes.includes(Buffer.from('aad-version.kms.openbao.org')), 'our annotations');
  assert.not.ok(stored.bytes.includes(Buffer.from(canary)));
  assert.equal(await apiServer.read(stored), { data: Buffer.from(canary), isStale: false });
});

withClient(
  'a rotation during continuous writes: new objects carry the new key, old ones stay readable and are stale',
  async ({ installed, client }) => {
    const provider = installed.start();
    const before = await untilHealthy(provider);
    const apiServer = client(installed.workplace);
    await untilWell(apiServer);
    const old = await apiServer.write('old', Buffer.from('old'));
    const failed: string[] = [];
    let isOver = false;
    let newest = old;
    const writing = (async () => {
      for (let count = 0; !isOver; count += 1) {
        await apiServer.write(`object-${count}`, Buffer.from('x')).then(
          (stored) => {
            newest = stored;
          },
          (error: Error) => failed.push(error.message),
        );
      }
    })();
    rotate(installed);
    await until(
      async () => {
        await apiServer.healthz();
        return !newest.bytes.includes(Buffer.from(before));
      },
      'an object with the new key',
      60_000,
    );
    isOver = true;
    await writing;
    assert.equal(failed, []);
    const { keyId } = await provider.client.status();
    assert.is.not(keyId, before);
    assert.ok(newest.bytes.includes(Buffer.from(keyId)));
    assert.equal(await apiServer.read(old), { data: Buffer.from('old'), isStale: true });
    assert.is((await apiServer.read(newest)).isStale, false);
  },
);

withClient(
  'an API server that starts during an outage: refused until OpenBao is back, then everything is readable',
  async ({ installed, client }) => {
    const provider = installed.start();
    await untilHealthy(provider);
    const first = client(installed.workplace);
    await untilWell(first);
    const stored = await first.write('before', Buffer.from('before the outage'));
    installed.bao.isSealed = true;
    assert.is(await reads(first, stored), 'before the outage', 'a seed that it has is enough');
    const second = client(installed.workplace);
    const error = await second.read(stored).then(
      () => '',
      (refused: Error) => refused.message,
    );
    // Its first Status and Encrypt decide whether it has a transformer at all; it says so in its own words.
    assert.is(error, 'got unexpected nil transformer');
    installed.bao.isSealed = false;
    await untilHealthy(provider, 40_000);
    await until(
      async () => (await reads(second, stored).catch(() => '')) === 'before the outage',
      'the object',
      40_000,
    );
    await untilWell(second);
    await second.write('after', Buffer.from('after'));
  },
);

withClient(
  'two API servers with two providers at different moments of a promotion read each other’s objects',
  async ({ installed, client }) => {
    const { workplace, issuer, authority, bao } = installed;
    const early = installed.start();
    const before = await untilHealthy(early);
    const other = createWorkplace({ address: bao.address, ca: authority.pem, jwt: issuer.issue() });
    other.writeConfig((config) => {
      quickly(config);
      config['status'] = { probeInterval: '40s', deepProbeInterval: '60s', statusMaxStaleness: '100s' };
    });
    const late = startProvider(other);
    try {
      await untilHealthy(late);
      const [a, b] = [client(workplace), client(other)];
      await Promise.all([untilWell(a), untilWell(b)]);
      rotate(installed);
      let fresh = await a.write('fresh', Buffer.from('fresh'));
      await until(
        async () => {
          await a.healthz();
          fresh = await a.write('fresh', Buffer.from('fresh'));
          return !fresh.bytes.includes(Buffer.from(before));
        },
        'an object with the new key',
        60_000,
      );
      assert.is((await late.client.status()).keyId, before);
      const slow = await b.write('slow', Buffer.from('slow'));
      assert.ok(slow.bytes.includes(Buffer.from(before)));
      assert.is(await reads(b, fresh), 'fresh', 'the late one discovers the version');
      assert.is(await reads(a, slow), 'slow');
    } finally {
      await late.stop();
      other.remove();
    }
  },
);

withClient(
  'min_decryption_version raised too early: what cannot be decrypted any more says so, lowering it repairs',
  async ({ installed, client }) => {
    const provider = installed.start();
    const before = await untilHealthy(provider);
    const apiServer = client(installed.workplace);
    await untilWell(apiServer);
    const old = await apiServer.write('old', Buffer.from('old'));
    rotate(installed);
    await until(async () => ![before, ''].includes((await provider.client.status()).keyId), 'the promotion');
    const restrict = (version: number) =>
      installed.engine.handle('write', 'keys/k8s-demo-etcd/config', { min_decryption_version: version }, 0);
    restrict(2);
    await until(async () => (await provider.client.status()).healthz === 'unhealthy', 'the finding');
    const anew = client(installed.workplace);
    await isRefused(anew.read(old));
    restrict(1);
    await untilHealthy(provider);
    await until(async () => (await reads(anew, old).catch(() => '')) === 'old', 'the old object');
  },
);

async function isRefused(promise: Promise<unknown>): Promise<void> {
  assert.is(
    await promise.then(
      () => 'read',
      () => 'refused',
    ),
    'refused',
  );
}

withClient('our reload and our crash under a loop of cold reads: no read fails', async ({ installed, client }) => {
  const provider = installed.start();
  await untilHealthy(provider);
  const writer = client(installed.workplace);
  await untilWell(writer);
  const stored = await writer.write('object', Buffer.from('object'));
  for (const disturb of [() => provider.child.kill('SIGHUP'), () => process.kill(provider.pluginPid(), 'SIGKILL')]) {
    // Fresh ones have no seed: each first read is a Decrypt that arrives in the middle of it.
    const cold = Array.from({ length: 4 }, () => client(installed.workplace));
    await Promise.all(cold.map((one) => one.healthz()));
    disturb();
    assert.equal(await Promise.all(cold.map((one) => reads(one, stored))), ['object', 'object', 'object', 'object']);
    await untilHealthy(provider);
  }
});

test.run();
