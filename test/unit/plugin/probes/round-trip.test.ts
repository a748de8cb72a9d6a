// The deep probe proves that what was encrypted is what is decrypted, bytes for bytes.

import { test } from 'uvu';
import { roundTrip } from '../../../../plugin/probes/round-trip.ts';
import { rejectsClass } from '../../../support/throws.ts';

const secret = Buffer.alloc(32, 7);
const signal = new AbortController().signal;

function probe(decrypted: Buffer, ciphertext = 'vault:v1:c2VhbGVk'): Promise<void> {
  const transit = { encrypt: async () => ciphertext, decrypt: async () => decrypted };
  return roundTrip({ transit, randomBytes: () => Buffer.from(secret) }, 1, signal);
}

test('the same bytes pass', () => probe(Buffer.from(secret)));

test('other bytes of the same length do not', async () =>
  void (await rejectsClass(probe(Buffer.alloc(32, 8)), 'deep_probe_invalid')));

test('fewer bytes do not', async () => void (await rejectsClass(probe(secret.subarray(1)), 'deep_probe_invalid')));

test('a ciphertext that the API server would refuse does not', async () =>
  void (await rejectsClass(probe(Buffer.from(secret), 'x'.repeat(1_024)), 'deep_probe_invalid')));

test.run();
