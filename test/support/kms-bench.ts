// The methods over a real key service and a counted Transit, for attacks on what comes before Transit.

import { StatusCache } from '../../plugin/health/status-cache.ts';
import { createKeyService } from '../../plugin/key-service.ts';
import { buildAnnotations } from '../../plugin/keys/annotations.ts';
import { type DecodedDecrypt, DecryptRequest, decodeDecryptRequest } from '../../plugin/kms/codec.ts';
import { createKms } from '../../plugin/kms/kms.ts';
import type { Transit } from '../../plugin/transit/transit.ts';
import { type Snapshot, sealState } from '../../shared/registry/state.ts';
import { readClock } from '../../shared/time/age.ts';
import { createFakeClock } from './fake-clock.ts';
import { content, snapshot } from './vectors.ts';

export const active = snapshot(12);
export const retired = snapshot(11, { state: 'retired' });
export const removed = snapshot(9, { state: 'removed' });

/** @param given  a Transit of the test's own, asked for several Decrypts together */
export function createKmsBench(given: { readonly transit?: Transit } = {}) {
  const clock = createFakeClock();
  const cache = new StatusCache(clock, { statusMaxStalenessMs: 1_000, deepMaxAgeMs: 1_000 });
  cache.publish(sealState(content({ snapshots: [active, retired, removed] })), readClock(clock));
  cache.deepPassed(active.kubernetesKeyId, readClock(clock));
  const bench = { transitDecrypts: 0, discoveries: 0 };
  const keys = createKeyService({
    cache,
    transit: given.transit ?? {
      encrypt: async () => 'vault:v12:eA==',
      decrypt: async () => {
        bench.transitDecrypts += 1;
        return Buffer.from('plaintext');
      },
      decryptTogether: async () => undefined,
    },
    discovery: {
      find: async (keyId) => {
        if (!cache.isRecorded(keyId)) bench.discoveries += 1;
        return undefined;
      },
    },
    evidence: { call: () => {} },
    pluginVersion: '1.4.0',
  });
  const kms = createKms({
    clock,
    keys,
    settings: {
      maxConcurrentStatus: 16,
      maxConcurrentEncrypt: 16,
      maxConcurrentDecrypt: 16,
      isBatching: given.transit !== undefined,
      timeoutMs: 2_000,
    },
    record: () => {},
    countKeyIdError: () => {},
    countAadError: () => {},
  });
  const signal = new AbortController().signal;
  const call = { signal, deadlineMs: Number.POSITIVE_INFINITY, connection: {}, end: () => {} };
  return Object.assign(bench, {
    /** The plaintext as text, or the class of the refusal. */
    plaintext: async (request: DecodedDecrypt): Promise<string> => {
      const answer = await kms.decrypt(request, call);
      return 'failure' in answer ? answer.failure.errorClass : answer.message.plaintext.toString();
    },
    /** 'ok' or the class of the refusal. */
    decrypt: async (request: DecodedDecrypt): Promise<string> => {
      const answer = await kms.decrypt(request, call);
      return 'failure' in answer ? answer.failure.errorClass : 'ok';
    },
  });
}

export function goodRequest(record: Snapshot = active): DecodedDecrypt {
  const annotations = new Map(
    [...buildAnnotations(record, '1.4.0')].map(([name, value]) => [name, Buffer.from(value)]),
  );
  const message = {
    ciphertext: Buffer.from(`vault:v${record.transitVersion}:eA==`),
    uid: 'u',
    keyId: record.kubernetesKeyId,
    annotations,
  };
  return decodeDecryptRequest(Buffer.from(DecryptRequest.encode(message).finish()));
}
