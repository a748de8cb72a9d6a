// T09 replay in another cluster: two providers on one Transit key that differ in exactly one label. The attacker relabels a
// stolen ciphertext with everything the other provider expects; only the associated data is left to stop it.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { StatusCache } from '../../../plugin/health/status-cache.ts';
import { createKeyService } from '../../../plugin/key-service.ts';
import { buildAnnotations } from '../../../plugin/keys/annotations.ts';
import { readReply } from '../../../plugin/openbao/response.ts';
import { createTransit } from '../../../plugin/transit/transit.ts';
import { deriveFingerprint } from '../../../shared/registry/fingerprint.ts';
import { deriveKeyId, type Identity } from '../../../shared/registry/key-id.ts';
import { sealState } from '../../../shared/registry/state.ts';
import { readClock } from '../../../shared/time/age.ts';
import { createFakeClock } from '../../support/fake-clock.ts';
import { TransitEngine } from '../../support/openbao/transit-engine.ts';
import { rejectsClass } from '../../support/throws.ts';
import { content, identity, snapshot } from '../../support/vectors.ts';

const engine = new TransitEngine();
engine.create('shared-key', 1);
engine.handle('write', 'keys/shared-key/rotate', {}, 2);

function createProvider(labels: Identity, version = 1) {
  const record = snapshot(version, labels);
  const active = { ...record, kubernetesKeyId: deriveKeyId(record, record) };
  const clock = createFakeClock();
  const cache = new StatusCache(clock, { statusMaxStalenessMs: 1_000, deepMaxAgeMs: 1_000 });
  const identityFingerprint = deriveFingerprint({ ...identity, ...labels });
  cache.publish(sealState(content({ snapshots: [active], identityFingerprint })), readClock(clock));
  cache.deepPassed(active.kubernetesKeyId, readClock(clock));
  const transit = createTransit('m', 'shared-key', async ({ operation, path, body }) => {
    const answer = engine.handle('write', path.slice(2), body as Record<string, unknown>, 3);
    const reply = {
      status: answer.status,
      body: Buffer.from(JSON.stringify(answer.body)),
      contentType: 'application/json',
      retryAfter: '',
      date: '',
    };
    return readReply(operation, reply);
  });
  const service = createKeyService({
    cache,
    transit,
    discovery: { find: async () => undefined },
    evidence: { call: () => {} },
    pluginVersion: '1.0.0',
  });
  return { service, active };
}

const signal = new AbortController().signal;
const plaintext = Buffer.from('a seed of the other cluster 1234');

async function steal(from: ReturnType<typeof createProvider>, by: ReturnType<typeof createProvider>): Promise<Buffer> {
  const stolen = await from.service.encrypt(from.service.status(), plaintext, signal);
  const relabelled = {
    ciphertext: Buffer.from(stolen.ciphertext),
    keyId: by.active.kubernetesKeyId,
    annotations: buildAnnotations(by.active, '1.0.0'),
    areAnnotationsSound: true,
  };
  const { item } = await by.service.resolve(relabelled, signal);
  return by.service.decrypt(item, signal);
}

test('the same provider reads its own ciphertext', async () => {
  assert.ok((await steal(createProvider(identity), createProvider(identity))).equals(plaintext));
});

for (const [name, value] of [
  ['providerName', 'other-kms'],
  ['clusterId', 'other-cluster'],
  ['openbaoInstanceId', 'other-bao'],
  ['openbaoNamespace', 'other/namespace'],
  ['openbaoNamespace', ''],
  ['transitMountId', 'other-mount'],
  ['transitKeyLineageId', 'other-lineage'],
] as const) {
  test(`another ${name} (${JSON.stringify(value)}): neither reads the other's`, async () => {
    const ours = createProvider(identity);
    const other = createProvider({ ...identity, [name]: value });
    await rejectsClass(steal(ours, other), 'bao_decrypt_failed');
    await rejectsClass(steal(other, ours), 'bao_decrypt_failed');
  });
}

test('another version of the same key: neither reads the other’s', async () => {
  await rejectsClass(steal(createProvider(identity, 1), createProvider(identity, 2)), 'bao_decrypt_failed');
  await rejectsClass(steal(createProvider(identity, 2), createProvider(identity, 1)), 'bao_decrypt_failed');
});

test.run();
