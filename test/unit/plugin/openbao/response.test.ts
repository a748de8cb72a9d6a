// Answers of OpenBao by their status: the class of each, and what says that another node may serve.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { HttpReply } from '../../../../plugin/http/connection.ts';
import { operations } from '../../../../plugin/openbao/operations.ts';
import { isNodeUnable, isPlainDenial, isSealed, readReply } from '../../../../plugin/openbao/response.ts';
import { throwsClass } from '../../../support/throws.ts';

const replyOf = (status: number, body: unknown = {}, more: Partial<HttpReply> = {}): HttpReply => ({
  status,
  contentType: 'application/json',
  retryAfter: '',
  date: '',
  body: Buffer.from(JSON.stringify(body)),
  ...more,
});
const errors = (...texts: string[]) => ({ errors: texts });
const read = (reply: HttpReply) => readReply(operations.decrypt, reply);

for (const [status, body, errorClass] of [
  [199, {}, 'bao_unknown'],
  [300, {}, 'bao_unavailable'],
  [399, {}, 'bao_unavailable'],
  [400, errors('wrong'), 'bao_invalid_request'],
  [400, errors('cipher: Message Authentication Failed'), 'bao_decrypt_failed'],
  [400, errors('invalid ciphertext: version is too new'), 'bao_unavailable'],
  [400, errors('cannot encrypt: higher than the latest key version'), 'bao_unavailable'],
  [400, errors('error fetching keys'), 'bao_unavailable'],
  [400, errors('error configuring token validator'), 'bao_unavailable'],
  [401, {}, 'bao_unauthenticated'],
  [403, {}, 'bao_permission_denied'],
  [404, {}, 'bao_not_found'],
  [405, {}, 'bao_unknown'],
  [429, errors('quota'), 'bao_rate_limited'],
  [429, errors(), 'bao_unavailable'],
  [499, {}, 'bao_unknown'],
  [500, errors('internal'), 'bao_unavailable'],
  [503, errors('Vault is sealed'), 'bao_sealed'],
  [500, errors('unsealed'), 'bao_unavailable'],
] as const) {
  test(`status ${status} with ${JSON.stringify(body)} is ${errorClass}`, () => {
    const { facts } = throwsClass(() => read(replyOf(status, body)), errorClass);
    assert.equal([facts['operation'], facts['status']], ['transit_decrypt', status]);
  });
}

test('an answer that went well needs a JSON object, unless it has no content', () => {
  assert.equal(read(replyOf(200, { data: 1, auth: 2, request_id: 'a-1' })), {
    data: 1,
    auth: 2,
    requestId: 'a-1',
    status: 200,
  });
  assert.equal(read(replyOf(299, {})), { data: undefined, auth: undefined, requestId: undefined, status: 299 });
  const empty = { body: Buffer.alloc(0), contentType: '' };
  assert.equal(read(replyOf(204, {}, empty)), { data: undefined, auth: undefined, requestId: undefined, status: 204 });
  for (const reply of [replyOf(200, {}, empty), replyOf(200, []), replyOf(200, {}, { contentType: 'text/html' })]) {
    throwsClass(() => read(reply), 'bao_protocol_error');
  }
});

test('an id of a request is taken only in the form that ids have', () => {
  const idOf = (id: unknown) => read(replyOf(200, { request_id: id })).requestId;
  assert.equal(['x'.repeat(128), ' a ', 'x'.repeat(129), 'a b', 'a\nb', 7, ''].map(idOf), [
    'x'.repeat(128),
    'a',
    ...Array(5).fill(undefined),
  ]);
});

test('the wait that a server asks for is whole seconds of at most six digits', () => {
  const waitOf = (retryAfter: string) =>
    throwsClass(() => read(replyOf(429, errors('quota'), { retryAfter })), 'bao_rate_limited').facts['retryAfterMs'];
  assert.equal(['7', '999999', '1000000', '1.5', '-1', 'soon', ''].map(waitOf), [
    7_000,
    999_999_000,
    ...Array(5).fill(undefined),
  ]);
});

for (const [status, body, isUnable] of [
  [200, {}, false],
  [299, {}, false],
  [300, {}, true],
  [307, {}, true],
  [399, {}, true],
  [400, {}, false],
  [403, errors('permission denied'), false],
  [404, {}, false],
  [429, errors(), true],
  [429, errors('quota'), false],
  [429, {}, false],
  [472, {}, true],
  [473, {}, true],
  [500, errors('internal'), false],
  [500, errors('Vault is sealed'), true],
  [500, errors('node is in standby mode'), true],
  [500, errors('unsealed'), false],
  [502, {}, true],
  [503, {}, true],
  [504, {}, true],
  [501, {}, false],
] as const) {
  test(`status ${status} with ${JSON.stringify(body)} says ${isUnable ? '' : 'not '}that another node may serve`, () => {
    assert.is(isNodeUnable(replyOf(status, body)), isUnable);
  });
}

test('a node that lags behind may be helped by another one, whatever it refuses', () => {
  assert.ok(isNodeUnable(replyOf(412, {}, { isInconsistent: true })));
  assert.not.ok(isNodeUnable(replyOf(200, {}, { isInconsistent: true })));
});

test('sealed is what a server fault says in a word of its own, and no refusal', () => {
  assert.ok(isSealed(replyOf(503, errors('Vault is sealed'))));
  assert.not.ok(isSealed(replyOf(503, errors('unsealed'))));
  assert.not.ok(isSealed(replyOf(400, errors('Vault is sealed'))));
});

test('only the bare text is the denial of a token that is not known', () => {
  assert.ok(isPlainDenial(replyOf(403, errors('Permission denied'))));
  assert.not.ok(isPlainDenial(replyOf(403, errors('1 error occurred: permission denied'))));
});

test.run();
