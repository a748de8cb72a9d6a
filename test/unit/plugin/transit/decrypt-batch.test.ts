// Answers to several Decrypts in one request: each item gets its own or none. Nobody ever gets the plaintext of another.

import { createHash } from 'node:crypto';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { HttpReply } from '../../../../plugin/http/connection.ts';
import { operations } from '../../../../plugin/openbao/operations.ts';
import { readReply } from '../../../../plugin/openbao/response.ts';
import { createTransit } from '../../../../plugin/transit/transit.ts';
import { rejectsClass } from '../../../support/throws.ts';

type Result = Record<string, unknown>;

const base64 = (text: string) => Buffer.from(text).toString('base64');
const good = (index: number): Result => ({ plaintext: base64(`plain ${index}`), reference: String(index) });
const bad = (index: number, error = 'cipher: message authentication failed'): Result => ({
  plaintext: '',
  error,
  reference: String(index),
});

function reply(status: number, body: unknown): HttpReply {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  return { status, contentType: 'application/json', retryAfter: '', date: '', body: Buffer.from(text) };
}
const results = (list: unknown, status = 200) =>
  reply(status, { request_id: 'r', data: { batch_results: list }, warnings: null });

const asked: unknown[] = [];

/** What became of so many items whose request got this answer. */
function outcomesOf(count: number, answer: HttpReply) {
  const transit = createTransit('m', 'k', async ({ operation, body }) => {
    asked.push(body);
    return readReply(operation, answer);
  });
  const items = Array.from({ length: count }, (_, index) => ({
    ciphertext: `vault:v1:${index}`,
    aad: Buffer.from(`aad ${index}`),
  }));
  return transit.decryptTogether(items);
}

const told = (outcomes: Awaited<ReturnType<typeof outcomesOf>>) =>
  outcomes?.map((outcome) =>
    outcome === undefined ? 'alone' : 'error' in outcome ? outcome.error.class : outcome.plaintext.toString(),
  );

test('the request names each item by its place', async () => {
  asked.length = 0;
  await outcomesOf(2, results([good(0), good(1)]));
  assert.equal(asked, [
    {
      batch_input: [
        { ciphertext: 'vault:v1:0', associated_data: base64('aad 0'), reference: '0' },
        { ciphertext: 'vault:v1:1', associated_data: base64('aad 1'), reference: '1' },
      ],
    },
  ]);
});

test('each item gets its own plaintext', async () => {
  assert.equal(told(await outcomesOf(3, results([good(0), good(1), good(2)]))), ['plain 0', 'plain 1', 'plain 2']);
});

test('one bad item among sixty-three good ones fails alone, with the class and the message of a single call', async () => {
  const list = Array.from({ length: 64 }, (_, index) => (index === 17 ? bad(index) : good(index)));
  const outcomes = await outcomesOf(64, results(list, 400));
  assert.equal(
    told(outcomes),
    list.map((_, index) => (index === 17 ? 'bao_decrypt_failed' : `plain ${index}`)),
  );
  const failed = outcomes?.[17];
  const single = createTransit('m', 'k', async ({ operation }) =>
    readReply(operation, reply(400, { errors: ['cipher: message authentication failed'] })),
  );
  const alone = await rejectsClass(single.decrypt({ ciphertext: 'x', aad: Buffer.from('a') }), 'bao_decrypt_failed');
  assert.ok(failed !== undefined && 'error' in failed);
  assert.equal([failed.error.message, failed.error.facts], [alone.message, alone.facts]);
});

for (const [text, errorClass] of [
  ['missing ciphertext to decrypt', 'bao_invalid_request'],
  ['refusing to use soft-deleted key', 'bao_invalid_request'],
  ['message decryption not supported for key type rsa-2048', 'bao_invalid_request'],
  ['invalid ciphertext: no prefix', 'bao_invalid_request'],
  ['invalid ciphertext: version is too new', 'bao_unavailable'],
  ['ciphertext or signature version is disallowed by policy (too old)', 'bao_invalid_request'],
  ['invalid ciphertext length', 'bao_invalid_request'],
  ['cipher: message authentication failed', 'bao_decrypt_failed'],
] as const) {
  test(`an item that says "${text}" has the class that it has alone`, async () => {
    assert.equal(told(await outcomesOf(2, results([good(0), bad(1, text)], 400))), ['plain 0', errorClass]);
    const single = createTransit('m', 'k', async ({ operation }) =>
      readReply(operation, reply(400, { errors: [text] })),
    );
    await rejectsClass(single.decrypt({ ciphertext: 'x', aad: Buffer.from('a') }), errorClass);
  });
}

test('an item whose text is not known, or that has an empty plaintext, is asked for alone', async () => {
  const list = [
    good(0),
    bad(1, 'unable to get associated_data/additional_data from factory[0]'),
    bad(2, 'context canceled'),
  ];
  assert.equal(told(await outcomesOf(3, results(list, 500))), ['plain 0', 'alone', 'alone']);
  assert.is(told(await outcomesOf(2, results([good(0), { plaintext: '', reference: '1' }], 500)))?.[1], 'alone');
});

const two = [good(0), good(1)];
for (const [what, answer] of [
  ['shorter', results([good(0)])],
  ['longer', results([...two, good(2)])],
  ['reordered', results([good(1), good(0)])],
  ['of foreign references', results([good(0), good(7)])],
  ['of one reference twice', results([good(0), good(0)])],
  ['without a reference', results([good(0), { plaintext: base64('x') }])],
  ['of a reference that is a number', results([good(0), { plaintext: base64('x'), reference: 1 }])],
  ['of an item both good and failed', results([good(0), { ...good(1), error: 'no' }], 400)],
  ['of an empty error', results([good(0), { plaintext: '', error: '', reference: '1' }], 400)],
  ['of an error that is no text', results([good(0), { plaintext: '', error: 1, reference: '1' }], 400)],
  ['of a plaintext that is no Base64', results([good(0), { plaintext: 'a$', reference: '1' }])],
  ['of an item that is no object', results([good(0), null])],
  ['of a failed item with status 200', results([good(0), bad(1)])],
  ['of good items with status 400', results(two, 400)],
  ['of good items with status 207 and a failed one', results([good(0), bad(1)], 207)],
  ['no list', results({ 0: good(0), 1: good(1) })],
  ['a single answer', reply(200, { data: { plaintext: base64('x') } })],
  ['a shape fault', reply(500, { errors: ['1 error occurred:\n\t* failed to parse batch input: …\n\n'] })],
  ['a policy on parameters', reply(403, { errors: ['1 error occurred:\n\t* permission denied\n\n'] })],
  ['too large', reply(413, { errors: ['http: request body too large'] })],
  ['a quota', reply(429, { errors: ['request path "m/decrypt/k": rate limit quota exceeded'] })],
  ['an older server', reply(400, { errors: ['missing ciphertext to decrypt'] })],
  [
    'too complex',
    reply(400, { errors: ['refused JSON input due to high complexity: exceeded maximum number of strings'] }),
  ],
  ['no JSON', reply(200, '<html>')],
] as const) {
  test(`an answer that is ${what} is an answer to none of them`, async () => {
    assert.is(await outcomesOf(2, answer), undefined);
  });
}

for (const [what, answer, errorClass] of [
  ['is sealed', reply(503, { errors: ['Vault is sealed'] }), 'bao_sealed'],
  ['cannot serve', reply(503, { errors: [] }), 'bao_unavailable'],
  ['is a standby that cannot forward', reply(307, ''), 'bao_unavailable'],
  ['has no leader', reply(429, { errors: [] }), 'bao_unavailable'],
] as const) {
  test(`an OpenBao that ${what} is not asked for each of them alone`, async () => {
    await rejectsClass(outcomesOf(2, answer), errorClass);
  });
}

/** The same numbers in each run. */
function createDraws(seed: string) {
  let block = Buffer.alloc(0);
  let count = 0;
  return (below: number) => {
    if (block.length < 4) block = createHash('sha256').update(`${seed} ${count++}`).digest();
    const value = block.readUInt32BE(0);
    block = block.subarray(4);
    return value % below;
  };
}

test('of 10,000 random answers none gives an item the plaintext of another', async () => {
  const draw = createDraws('answers');
  const counts = { own: 0, failed: 0, alone: 0, none: 0 };
  for (let round = 0; round < 10_000; round += 1) {
    const count = 2 + draw(6);
    const list = Array.from({ length: count }, (_, index) => (draw(8) === 0 ? bad(index) : good(index)));
    for (let change = draw(3); change > 0; change -= 1) disturb(list, draw);
    const isFailed = list.some((item) => item?.['error'] !== undefined);
    const status = draw(10) === 0 ? ([200, 400, 500, 207] as const)[draw(4)] : isFailed ? 400 : 200;
    const outcomes = await outcomesOf(count, results(list, status)).catch(() => undefined);
    if (outcomes === undefined) counts.none += 1;
    for (const [index, outcome] of (outcomes ?? []).entries()) {
      if (outcome === undefined) counts.alone += 1;
      else if ('error' in outcome) counts.failed += 1;
      else {
        counts.own += 1;
        assert.is(outcome.plaintext.toString(), `plain ${index}`);
      }
    }
  }
  assert.ok(Math.min(...Object.values(counts)) > 100, JSON.stringify(counts));
});

/** One fault that a server, or somebody between, could make. */
function disturb(list: Result[], draw: (below: number) => number): void {
  const [one, other] = [draw(list.length), draw(list.length)];
  const faults = [
    () => list.splice(one, 1),
    () => list.splice(one, 0, good(draw(9))),
    () => list.reverse(),
    () => ([list[one], list[other]] = [list[other] ?? {}, list[one] ?? {}]),
    () => (list[one] = { ...list[one], reference: String(draw(9)) }),
    () => (list[one] = { ...list[one], error: 'cipher: message authentication failed' }),
    () => (list[one] = { ...list[one], plaintext: '' }),
    () => (list[one] = bad(one, 'something new')),
    () => (list[one] = {}),
  ];
  if (list.length > 0) faults[draw(faults.length)]?.();
}

test('an answer in parts is read whatever its status, every other refusal as for a single call', () => {
  const body = { data: { batch_results: [] } };
  assert.is(readReply(operations.decryptBatch, reply(400, body)).status, 400);
  assert.throws(() => readReply(operations.decrypt, reply(400, body)));
  assert.throws(() => readReply(operations.decryptBatch, reply(400, { data: null, errors: ['x'] })));
});

test.run();
