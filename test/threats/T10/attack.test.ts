// T10 spoofed key_id: only what the local registry knows reaches Transit, whatever stands beside it.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { active, createKmsBench, goodRequest, removed } from '../../support/kms-bench.ts';
import { snapshot } from '../../support/vectors.ts';

test('a known key_id decrypts', async () => {
  const bench = createKmsBench();

  assert.equal([await bench.decrypt(goodRequest()), bench.transitDecrypts], ['ok', 1]);
});

for (const [what, keyId] of [
  ['empty', ''],
  ['one byte short', active.kubernetesKeyId.slice(0, -1)],
  ['one byte long', `${active.kubernetesKeyId}A`],
  ['in upper case', active.kubernetesKeyId.toUpperCase()],
  ['with padding', `${active.kubernetesKeyId.slice(0, -1)}=`],
  ['spelled with other unused bits', `${active.kubernetesKeyId.slice(0, -1)}${nextSpelling(active.kubernetesKeyId)}`],
] as const) {
  test(`a key_id ${what} is refused without Transit and without discovery`, async () => {
    const bench = createKmsBench();
    const answer = await bench.decrypt({ ...goodRequest(), keyId });

    assert.equal([answer, bench.transitDecrypts, bench.discoveries], ['key_id_malformed', 0, 0]);
  });
}

function nextSpelling(keyId: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  return alphabet[alphabet.indexOf(keyId.slice(-1)) + 1] ?? 'B';
}

test('an unknown key_id beside the annotations and ciphertext of the active key never reaches Transit', async () => {
  const bench = createKmsBench();
  const answer = await bench.decrypt({ ...goodRequest(), keyId: snapshot(77).kubernetesKeyId });

  assert.equal([answer, bench.transitDecrypts], ['key_id_unknown', 0]);
});

test('a removed key_id is unknown, without Transit and without discovery', async () => {
  const bench = createKmsBench();

  assert.equal(
    [await bench.decrypt(goodRequest(removed)), bench.transitDecrypts, bench.discoveries],
    ['key_id_unknown', 0, 0],
  );
});

test.run();
