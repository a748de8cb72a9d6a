// A key that rotates under load, while everything restarts, and on two nodes at different moments.

import { randomBytes } from 'node:crypto';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { annotationNames } from '../../plugin/keys/annotations.ts';
import { type Installed, quickly, until, withInstallation } from '../support/installation.ts';
import { refusalOf } from '../support/kms-client.ts';
import { startForward } from '../support/openbao/forward.ts';
import { createLeaf } from '../support/pki.ts';
import { type Provider, startProvider, untilHealthy } from '../support/provider.ts';
import { createWorkplace } from '../support/workplace.ts';

const rotate = ({ engine }: Installed) =>
  engine.handle('write', 'keys/k8s-demo-etcd/rotate', {}, Math.floor(Date.now() / 1000));
const restrict = ({ engine }: Installed, minimums: Record<string, number>) =>
  engine.handle('write', 'keys/k8s-demo-etcd/config', minimums, Math.floor(Date.now() / 1000));
const delay = (activationDelay: string, requireStableObservationCount = 1) => ({
  change: (config: Record<string, unknown>) => {
    config['rotation'] = { activationDelay, requireStableObservationCount };
  },
});

async function untilOther(provider: Provider, keyId: string, timeoutMs = 30_000): Promise<string> {
  let found = '';
  await until(
    async () => {
      const status = await provider.client.status().catch(() => undefined);
      found = status?.keyId ?? '';
      return found !== '' && found !== keyId;
    },
    'the promotion',
    timeoutMs,
  );
  return found;
}

/** Fewer than the provider admits of one method; a machine that does not keep up is asked less often. */
const maxInFlight = 16;

/** Encrypts and Decrypts at a fixed pace where the machine keeps up, and everything that is wrong with an answer. */
function startPace(provider: Provider, callsPerSecond: number) {
  const versions = new Map<string, string>();
  const wrong: string[] = [];
  const held: { readonly seed: Buffer; readonly sealed: Awaited<ReturnType<Provider['client']['encrypt']>> }[] = [];
  const running = new Set<Promise<void>>();
  let served = 0;
  const encrypt = async () => {
    const seed = randomBytes(32);
    const sealed = await provider.client.encrypt(seed, 'u', 10_000);
    const label = sealed.annotations.get(annotationNames.transitKeyVersion)?.toString() ?? '';
    const written = /^vault:v(\d+):/u.exec(sealed.ciphertext.toString())?.[1];
    if (label !== written) wrong.push(`labelled ${label}, written with ${written}`);
    const before = versions.get(sealed.keyId);
    if (before !== undefined && before !== written) wrong.push(`one key_id for versions ${before} and ${written}`);
    versions.set(sealed.keyId, written ?? '');
    held.push({ seed, sealed });
  };
  const decrypt = async () => {
    const one = held[Math.floor(Math.random() * held.length)];
    if (one === undefined) return encrypt();
    const { plaintext } = await provider.client.decrypt(one.sealed, 'u', 10_000);
    if (!one.seed.equals(plaintext)) wrong.push('decrypted to something else');
  };
  const call = (run: () => Promise<void>) => {
    const promise = run().then(
      () => {
        served += 1;
      },
      (error: unknown) => void wrong.push(error instanceof Error ? error.message : 'unknown'),
    );
    running.add(promise);
    void promise.finally(() => running.delete(promise));
  };
  const tickMs = 10;
  const timer = setInterval(() => {
    for (let count = 0; count < (callsPerSecond * tickMs) / 1000; count += 1) {
      if (running.size < maxInFlight) call(count % 2 === 0 ? encrypt : decrypt);
    }
  }, tickMs);
  return {
    versions,
    served: () => served,
    stop: async () => {
      clearInterval(timer);
      await Promise.all(running);
      return { wrong, served };
    },
  };
}

test('two rotations at 500 calls a second: none fails, none is mislabelled, Status is never unhealthy', () =>
  withInstallation(async (installed) => {
    const provider = installed.start();
    let keyId = await untilHealthy(provider);
    const seen = new Set<string>();
    const look = () => provider.client.status().then(({ healthz }) => seen.add(healthz));
    const watch = setInterval(() => void look().catch(() => seen.add('no answer')), 50);
    const pace = startPace(provider, 500);
    for (let round = 0; round < 2; round += 1) {
      rotate(installed);
      keyId = await untilOther(provider, keyId);
      const served = pace.served();
      await until(() => pace.served() > served + 500, 'calls with the new version');
    }
    await until(() => pace.served() > 1_500, 'calls');
    const { wrong } = await pace.stop();
    clearInterval(watch);
    assert.equal(wrong, []);
    assert.equal([...pace.versions.values()].sort(), ['1', '2', '3'], 'every version was in use');
    assert.equal([...seen], ['ok']);
  }, delay('1s')));

test('no restart livelock: plugins that die faster than the activation delay do not start the wait over', () =>
  withInstallation(async (installed) => {
    const provider = installed.start();
    const keyId = await untilHealthy(provider);
    rotate(installed);
    restrict(installed, { min_encryption_version: 2 });
    const kill = setInterval(() => process.kill(provider.pluginPid(), 'SIGKILL'), 2_500);
    try {
      await untilOther(provider, keyId, 60_000);
    } finally {
      clearInterval(kill);
    }
  }, delay('6s')));

test('a start with an active version that may no longer encrypt ends in its promotion, and Decrypt is served meanwhile', () =>
  withInstallation(async (installed) => {
    const first = installed.start();
    const keyId = await untilHealthy(first);
    const sealed = await first.client.encrypt(randomBytes(32));
    await first.stop();
    rotate(installed);
    restrict(installed, { min_encryption_version: 2 });
    const provider = installed.start();
    await until(async () => {
      await provider.client.status(5_000);
      return String((await provider.ready()).body['reasons']).includes('encryption_blocked');
    }, 'the reason');
    assert.is((await provider.client.decrypt(sealed)).plaintext.length, 32);
    assert.is((await refusalOf(provider.client.encrypt(randomBytes(32)))).message, 'status unhealthy');
    await untilOther(provider, keyId);
    assert.is((await provider.client.decrypt(sealed)).plaintext.length, 32);
  }, delay('3s')));

test('the supervisor starts the activation wait over in full, and it ends', () =>
  withInstallation(async (installed) => {
    const first = installed.start();
    const keyId = await untilHealthy(first);
    rotate(installed);
    await until(async () => (await first.ready()).body['rotation_state'] === 'pending', 'the newer version');
    await first.stop();
    const second = installed.start();
    assert.is(await untilHealthy(second), keyId, 'not promoted by a restart');
    await untilOther(second, keyId);
  }, delay('3s')));

test('two nodes at different moments of a promotion read each other’s data after one discovery', () =>
  withInstallation(async (installed) => {
    const { workplace, issuer, authority, bao } = installed;
    const early = installed.start();
    const keyId = await untilHealthy(early);
    // The second node has the same identity, its own files and its own door to OpenBao, and is slow to probe and so to promote.
    const door = await startForward({ address: bao.address, ca: authority.pem }, { leaf: await createLeaf(authority) });
    const keyReads = () => door.requests.filter(({ path }) => path.includes('/keys/k8s')).length;
    const other = createWorkplace({ address: door.address, ca: authority.pem, jwt: issuer.issue() });
    other.writeConfig((config) => {
      quickly(config);
      config['status'] = { probeInterval: '15s', deepProbeInterval: '40s', statusMaxStaleness: '60s' };
    });
    const late = startProvider(other);
    try {
      assert.is(await untilHealthy(late), keyId, 'both derive the same key_id');
      // Its first probe comes at a random moment; after that one it is quiet for the whole interval.
      const atStart = keyReads();
      await until(() => keyReads() > atStart, 'its own probe');
      const quiet = keyReads();
      rotate(installed);
      await untilOther(early, keyId);
      const fresh = await early.client.encrypt(randomBytes(32));
      assert.is((await late.client.status()).keyId, keyId, 'the late one has not promoted');
      assert.is(keyReads(), quiet, 'it has not looked since');
      assert.is((await late.client.decrypt(fresh)).plaintext.length, 32);
      assert.is(keyReads(), quiet + 1, 'one discovery');
      assert.is((await early.client.decrypt(await late.client.encrypt(randomBytes(32)))).plaintext.length, 32);
      assert.not.equal(workplace.statePath, other.statePath);
    } finally {
      await late.stop();
      await door.close();
      other.remove();
    }
  }, delay('1s')));

test('/ready, the metrics and the log tell one story, each within a second of the change', () =>
  withInstallation(async (installed) => {
    const provider = installed.start();
    await untilHealthy(provider);
    const upsert = (isDisabled: boolean) => {
      installed.engine.isUpsertDisabled = isDisabled;
    };
    const deletion = (isAllowed: boolean) =>
      installed.engine.handle('write', 'keys/k8s-demo-etcd/config', { deletion_allowed: isAllowed }, 0);
    const changes = [
      [() => upsert(false), 'upsert_allowed'],
      [() => upsert(true), ''],
      [() => deletion(true), 'profile_invalid'],
      [() => deletion(false), ''],
    ] as const;
    for (const [change, reason] of changes) {
      change();
      await until(async () => String((await provider.ready()).body['reasons']) === reason, `/ready: ${reason}`);
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      const isWell = reason === '';
      const { status, body } = await provider.ready();
      assert.equal([status, body['healthz']], isWell ? [200, 'ok'] : [503, 'unhealthy']);
      assert.match(await provider.metrics(), new RegExp(`openbao_kms_status_healthy ${isWell ? 1 : 0}\n`, 'u'));
      assert.is((await provider.client.status()).healthz, body['healthz']);
      if (!isWell) assert.ok(provider.log.some((line) => line.message === 'status.probe' && line['reason'] === reason));
    }
  }));

test.run();
