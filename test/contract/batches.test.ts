// How OpenBao answers several encrypts or decrypts in one request: cases C9 to C12, on the development server and on a real OpenBao.

import * as assert from 'uvu/assert';
import { base64, dataOf, errorsOf, onBoth, type World, wrap } from './world.ts';

type Item = Record<string, unknown>;
type Reply = Awaited<ReturnType<World['provider']['call']>>;

const ask = (w: World, verb: 'encrypt' | 'decrypt', batch: unknown, more: object = {}): Promise<Reply> =>
  w.provider.call('POST', `${w.names.mountPath}/${verb}/k`, { batch_input: batch, ...more }, true);
const resultsOf = (reply: Reply) => dataOf(reply)['batch_results'] as readonly Item[];

/** One ciphertext with this associated data. */
async function seal(w: World, text: string, aad: string): Promise<string> {
  const body = { plaintext: base64(text), associated_data: base64(aad) };
  return String(dataOf(await w.provider.call('POST', `${w.names.mountPath}/encrypt/k`, body))['ciphertext']);
}

/** Decrypts that fail alone, and what their items say. */
const faults: readonly (readonly [Item, string])[] = [
  [{ ciphertext: '' }, 'missing ciphertext to decrypt'],
  [{ ciphertext: 'x' }, 'invalid ciphertext: no prefix'],
  [{ ciphertext: 'vault:v1' }, 'invalid ciphertext: wrong number of fields'],
  [{ ciphertext: 'vault:vx:YQ==' }, 'invalid ciphertext: version number could not be decoded'],
  [{ ciphertext: 'vault:v9:YQ==' }, 'invalid ciphertext: version is too new'],
  [{ ciphertext: 'vault:v-1:YQ==' }, 'ciphertext or signature version is disallowed by policy (too old)'],
  [{ ciphertext: 'vault:v1:!' }, 'invalid ciphertext: could not decode base64'],
  [{ ciphertext: 'vault:v1:YQ==' }, 'invalid ciphertext length'],
  [{ ciphertext: `vault:v1:${base64(Buffer.alloc(40))}` }, 'cipher: message authentication failed'],
];

onBoth((test) => {
  test('C9: a batch of good items is 200, each result in its place with its reference', async (w) => {
    const items = await Promise.all(
      ['a', 'b', 'c'].map(async (text) => ({
        ciphertext: await seal(w, text, `aad ${text}`),
        associated_data: base64(`aad ${text}`),
        reference: `ref ${text}`,
      })),
    );
    const reply = await ask(w, 'decrypt', items);
    assert.is(reply.status, 200);
    assert.equal(
      resultsOf(reply),
      ['a', 'b', 'c'].map((text) => ({ plaintext: base64(text), reference: `ref ${text}` })),
    );
  });

  for (const [fault, error] of faults) {
    test(`C9: one item that says "${error}" beside a good one is 400, and the good one is answered`, async (w) => {
      const good = { ciphertext: await seal(w, 'x', 'y'), associated_data: base64('y'), reference: '0' };
      const reply = await ask(w, 'decrypt', [good, { ...fault, reference: '1' }]);
      assert.is(reply.status, 400);
      assert.is(errorsOf(reply), undefined);
      assert.equal(Object.keys(reply.body), [
        'request_id',
        'lease_id',
        'renewable',
        'lease_duration',
        'data',
        'wrap_info',
        'warnings',
        'auth',
      ]);
      assert.equal(resultsOf(reply), [
        { plaintext: base64('x'), reference: '0' },
        { plaintext: '', error, reference: '1' },
      ]);
    });
  }

  test('C9: a fault that is 500 alone makes the batch 500, unless another item is the fault of the caller', async (w) => {
    const ciphertext = await seal(w, 'x', 'y');
    const strange = { ciphertext, associated_data: '!' };
    const reply = await ask(w, 'decrypt', [strange, { ciphertext, associated_data: base64('y') }]);
    assert.is(reply.status, 500);
    assert.match(
      String(resultsOf(reply)[0]?.['error']),
      /unable to get associated_data\/additional_data from factory/u,
    );
    assert.is((await ask(w, 'decrypt', [strange, { ciphertext: 'x' }])).status, 400);
  });

  test('C9: all bad, with the codes 207 and 0 for a partial failure', async (w) => {
    const good = { ciphertext: await seal(w, 'x', 'y'), associated_data: base64('y') };
    const bad = { ciphertext: 'x' };
    const status = async (items: readonly Item[], code: number) =>
      (await ask(w, 'decrypt', items, { partial_failure_response_code: code })).status;
    assert.equal(
      [
        await status([good, bad], 207),
        await status([bad, bad], 207),
        await status([good, bad], 0),
        await status([good], 207),
      ],
      [207, 400, 400, 200],
    );
  });

  test('C10: associated data, version and reference are those of each item, not of the request', async (w) => {
    const items = ['a', 'b'].map((text) => ({
      plaintext: base64(text),
      associated_data: base64(`aad ${text}`),
      key_version: 1,
      reference: text,
    }));
    const sealed = await ask(w, 'encrypt', items, { associated_data: base64('ignored'), key_version: 9 });
    assert.is(sealed.status, 200);
    assert.equal(
      resultsOf(sealed).map(({ key_version: version, reference }) => [version, reference]),
      [
        [1, 'a'],
        [1, 'b'],
      ],
    );
    const [a, b] = resultsOf(sealed).map(({ ciphertext }) => ciphertext);
    const opened = await ask(w, 'decrypt', [
      { ciphertext: a, associated_data: base64('aad a') },
      { ciphertext: b, associated_data: base64('aad a') },
    ]);
    assert.equal(resultsOf(opened), [
      { plaintext: base64('a'), reference: '' },
      { plaintext: '', error: 'cipher: message authentication failed', reference: '' },
    ]);
    const failed = await ask(w, 'encrypt', [{ plaintext: base64('a'), key_version: 9 }]);
    assert.is(failed.status, 400);
    assert.equal(resultsOf(failed), [
      { error: 'requested version for encryption is higher than the latest key version', reference: '' },
    ]);
  });

  test('C11: 249 items with associated data are taken, 250 are not; with a reference 166', async (w) => {
    const ciphertext = await seal(w, 'x', 'y');
    const items = (count: number, more: Item = {}) =>
      Array.from({ length: count }, () => ({ ciphertext, associated_data: base64('y'), ...more }));
    assert.is((await ask(w, 'decrypt', items(249))).status, 200);
    const refused = await ask(w, 'decrypt', items(250));
    const text = 'refused JSON input due to high complexity: exceeded maximum number of strings';
    assert.equal([refused.status, errorsOf(refused)], [400, [text]]);
    assert.is((await ask(w, 'decrypt', items(166, { reference: '1' }))).status, 200);
    assert.is((await ask(w, 'decrypt', items(167, { reference: '1' }))).status, 400);
  });

  const shapes: readonly (readonly [string, unknown, string])[] = [
    ['no ciphertext', [{}], "'[0].ciphertext' missing ciphertext to decrypt"],
    [
      'a number as ciphertext',
      [{ ciphertext: 1 }],
      "'[0].ciphertext' expected type 'string', got unconvertible type 'json.Number'",
    ],
    [
      'a flag as associated data of the second',
      [{ ciphertext: 'x' }, { ciphertext: 'x', associated_data: true }],
      "'[1].associated_data' expected type 'string', got unconvertible type 'bool'",
    ],
    [
      'a text as version',
      [{ ciphertext: 'x', key_version: '1' }],
      "'[0].key_version' expected type 'int', got unconvertible type 'string'",
    ],
    [
      'a version that is no whole number',
      [{ ciphertext: 'x', key_version: 1.5 }],
      'error decoding json.Number into [0].key_version: strconv.ParseInt: parsing "1.5": invalid syntax',
    ],
    ['a text as item', ['x', {}], "[0] expected a map, got 'string'"],
    ['a text as list', 'x', 'source data must be an array or slice, got string'],
  ];
  for (const [what, batch, detail] of shapes) {
    test(`C12: a batch with ${what} fails as a whole`, async (w) => {
      const reply = await ask(w, 'decrypt', batch);
      assert.equal([reply.status, errorsOf(reply)], [500, wrap(`failed to parse batch input: ${detail}`)]);
    });
  }

  test('C12: an empty batch, a batch that is null, a missing plaintext, a key that is not there', async (w) => {
    const empty = await ask(w, 'decrypt', []);
    assert.equal([empty.status, errorsOf(empty)], [400, ['missing batch input to process']]);
    const single = await ask(w, 'decrypt', null, { ciphertext: await seal(w, 'x', 'y'), associated_data: base64('y') });
    assert.equal(dataOf(single), { plaintext: base64('x') });
    const missing = await ask(w, 'encrypt', [{ reference: '1' }]);
    assert.equal(errorsOf(missing), wrap("failed to parse batch input: '[0].plaintext' missing plaintext to encrypt"));
    const path = `${w.names.mountPath}/decrypt/no-such-key`;
    const unknown = await w.admin.call('POST', path, { batch_input: [{ ciphertext: 'vault:v1:YQ==' }] }, true);
    assert.equal([unknown.status, errorsOf(unknown)], [400, ['encryption key not found']]);
  });
});
