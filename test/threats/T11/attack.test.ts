// T11 tampered annotations: each removed, altered, doubled or added; none of it reaches Transit.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DecryptRequest, decodeDecryptRequest } from '../../../plugin/kms/codec.ts';
import { createKmsBench, goodRequest, retired } from '../../support/kms-bench.ts';

const names = [...goodRequest().annotations.keys()];
const other = goodRequest(retired).annotations;

function withAnnotations(change: (annotations: Map<string, Buffer>) => void) {
  const request = goodRequest();
  const annotations = new Map(request.annotations);
  change(annotations);
  return { ...request, annotations };
}

for (const name of names) {
  test(`${name} removed: refused before Transit`, async () => {
    const bench = createKmsBench();
    const answer = await bench.decrypt(withAnnotations((map) => map.delete(name)));

    assert.equal([answer !== 'ok', bench.transitDecrypts], [true, 0]);
  });
}

for (const name of names.filter((one) => !one.startsWith('plugin-version'))) {
  for (const [how, value] of [
    ['empty', Buffer.alloc(0)],
    ['of another record', other.get(name)],
    ['longer', Buffer.concat([goodRequest().annotations.get(name) ?? Buffer.alloc(0), Buffer.from('A')])],
    ['in other case', Buffer.from((goodRequest().annotations.get(name)?.toString() ?? '').toUpperCase())],
  ] as const) {
    const isSame = value?.equals(goodRequest().annotations.get(name) ?? Buffer.alloc(0)) === true;
    if (isSame) continue;
    test(`${name} ${how}: refused before Transit`, async () => {
      const bench = createKmsBench();
      const answer = await bench.decrypt(withAnnotations((map) => map.set(name, value ?? Buffer.from('x'))));

      assert.equal([answer !== 'ok', bench.transitDecrypts], [true, 0]);
    });
  }
}

test('an annotation that comes twice on the wire is refused, also when both are right', async () => {
  const { hasDuplicates: _, ...message } = goodRequest();
  const bytes = Buffer.from(DecryptRequest.encode(message).finish());
  const [name, value] = [...message.annotations][0] ?? ['', Buffer.alloc(0)];
  const entry = Buffer.concat([
    Buffer.from([0x0a, name.length]),
    Buffer.from(name),
    Buffer.from([0x12, value.length]),
    value,
  ]);
  const doubled = Buffer.concat([bytes, Buffer.from([0x22, entry.length]), entry]);
  const bench = createKmsBench();

  assert.equal([await bench.decrypt(decodeDecryptRequest(doubled)), bench.transitDecrypts], ['annotation_invalid', 0]);
});

for (const name of [
  'X.example.org',
  'noDots',
  'a..b',
  '.a.b',
  'a.b.',
  'a/b.c',
  `${'a'.repeat(64)}.b`,
  'provider.kms.openbao.org ',
]) {
  test(`an added ${JSON.stringify(name.slice(0, 20))} is refused before Transit`, async () => {
    const bench = createKmsBench();
    const answer = await bench.decrypt(withAnnotations((map) => map.set(name, Buffer.from('x'))));

    assert.equal([answer, bench.transitDecrypts], ['annotation_invalid', 0]);
  });
}

test('an added well-formed one passes and changes nothing', async () => {
  const bench = createKmsBench();

  assert.equal(
    [await bench.decrypt(withAnnotations((map) => map.set('x.example.org', Buffer.from('y')))), bench.transitDecrypts],
    ['ok', 1],
  );
});

test.run();
