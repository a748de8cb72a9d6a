// The Transit calls: what is sent, and what of an answer is taken for one.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { SendAuthorized } from '../../../../plugin/openbao/authorized.ts';
import { versionOfCiphertext } from '../../../../plugin/transit/ciphertext.ts';
import { readCapabilities } from '../../../../plugin/transit/read-capabilities.ts';
import { readKeyProfile } from '../../../../plugin/transit/read-key-profile.ts';
import { createTransit } from '../../../../plugin/transit/transit.ts';
import { rejectsClass, throwsClass } from '../../../support/throws.ts';

const aad = Buffer.from('aad');

function transitThatAnswers(data: unknown) {
  const sent: Parameters<SendAuthorized>[0][] = [];
  const send: SendAuthorized = async (call) => {
    sent.push(call);
    return { data, auth: undefined, requestId: undefined, status: 200 };
  };
  return { sent, send, transit: createTransit('mount', 'key', send) };
}

test('an Encrypt names its version, its additional data and its plaintext in base64', async () => {
  const { sent, transit } = transitThatAnswers({ ciphertext: 'vault:v3:AAAA', key_version: 3 });
  const pooled = Buffer.from('before-secret-after').subarray(7, 13);

  assert.is(await transit.encrypt({ keyVersion: 3, plaintext: pooled, aad }), 'vault:v3:AAAA');
  assert.is(sent[0]?.path, 'mount/encrypt/key');
  assert.equal(sent[0]?.body, { plaintext: 'c2VjcmV0', associated_data: 'YWFk', key_version: 3 });
});

for (const [what, data] of [
  ['names no version', { ciphertext: 'vault:v3:AAAA' }],
  ['names version 0, as older servers do', { ciphertext: 'vault:v3:AAAA', key_version: 0 }],
  ['has a ciphertext without a label', { ciphertext: 'AAAA', key_version: 3 }],
] as const) {
  test(`an answer to an Encrypt that ${what} is taken`, async () => {
    const { transit } = transitThatAnswers(data);
    assert.is(await transit.encrypt({ keyVersion: 3, plaintext: aad, aad }), data.ciphertext);
  });
}

for (const [what, data, errorClass] of [
  ['names another version', { ciphertext: 'vault:v3:AAAA', key_version: 4 }, 'transit_response_invalid'],
  ['labels its ciphertext with another version', { ciphertext: 'vault:v2:AAAA' }, 'transit_response_invalid'],
  [
    'labels its ciphertext with another version than it names',
    { ciphertext: 'vault:v2:AAAA', key_version: 3 },
    'transit_response_invalid',
  ],
  ['has an empty ciphertext', { ciphertext: '', key_version: 3 }, 'transit_response_invalid'],
  ['has no ciphertext', { key_version: 3 }, 'bao_protocol_error'],
  ['has no data', undefined, 'bao_protocol_error'],
] as const) {
  test(`an answer to an Encrypt that ${what} is refused: ${errorClass}`, async () => {
    const { transit } = transitThatAnswers(data);
    await rejectsClass(transit.encrypt({ keyVersion: 3, plaintext: aad, aad }), errorClass);
  });
}

test('an empty plaintext, and empty additional data, are never sent', async () => {
  const { sent, transit } = transitThatAnswers({ ciphertext: 'vault:v3:AAAA', plaintext: 'AAAA' });
  const nothing = Buffer.alloc(0);
  await rejectsClass(transit.encrypt({ keyVersion: 3, plaintext: nothing, aad }), 'internal');
  await rejectsClass(transit.encrypt({ keyVersion: 3, plaintext: aad, aad: nothing }), 'internal');
  await rejectsClass(transit.decrypt({ ciphertext: 'vault:v3:AAAA', aad: nothing }), 'internal');
  assert.equal(sent, []);
});

test('a Decrypt sends the ciphertext as it is, with its additional data', async () => {
  const { sent, transit } = transitThatAnswers({ plaintext: 'c2VjcmV0' });
  assert.is((await transit.decrypt({ ciphertext: 'vault:v3:AAAA', aad })).toString(), 'secret');
  assert.is(sent[0]?.path, 'mount/decrypt/key');
  assert.equal(sent[0]?.body, { ciphertext: 'vault:v3:AAAA', associated_data: 'YWFk' });
});

for (const [what, data, errorClass] of [
  ['an empty plaintext', { plaintext: '' }, 'transit_response_invalid'],
  ['a plaintext that is no base64', { plaintext: 'c2Vjc mV0' }, 'bao_protocol_error'],
  ['no plaintext', {}, 'bao_protocol_error'],
  ['no data', undefined, 'bao_protocol_error'],
] as const) {
  test(`an answer to a Decrypt with ${what} is refused: ${errorClass}`, async () => {
    await rejectsClass(transitThatAnswers(data).transit.decrypt({ ciphertext: 'vault:v3:AAAA', aad }), errorClass);
  });
}

test('whether the mount makes keys by accident is known from a flag only', async () => {
  for (const disabled of [true, false]) {
    const { sent, transit } = transitThatAnswers({ disable_upsert: disabled });
    assert.is(await transit.readUpsertDisabled(), disabled);
    assert.is(sent[0]?.path, 'mount/config/keys');
  }
  for (const data of [undefined, {}, { disable_upsert: 'true' }]) {
    await rejectsClass(transitThatAnswers(data).transit.readUpsertDisabled(), 'bao_protocol_error');
  }
});

for (const [text, version] of [
  ['vault:v1:AAAA', 1],
  ['vault:v2147483647:AAAA', 2_147_483_647],
  ['vault:v10000000000:AAAA', undefined],
  ['vault:v1', undefined],
  ['vault:v:AAAA', undefined],
  ['xvault:v1:AAAA', undefined],
] as const) {
  test(`the version in front of ${text} is ${version}`, () => assert.is(versionOfCiphertext(text), version));
}

test('rights are asked for without a new login, and a path that the answer leaves out is no right', async () => {
  const { sent, send } = transitThatAnswers({ a: ['read'], b: ['deny'] });
  assert.equal(
    [...(await readCapabilities(send, ['a', 'b']))],
    [
      ['a', ['read']],
      ['b', ['deny']],
    ],
  );
  assert.equal([sent[0]?.mayRecover, sent[0]?.body], [false, { paths: ['a', 'b'] }]);
  await rejectsClass(readCapabilities(send, ['a', 'c']), 'bao_protocol_error');
  for (const data of [undefined, { a: [] }, { a: 'read' }, { a: ['read', 1] }]) {
    await rejectsClass(readCapabilities(transitThatAnswers(data).send, ['a']), 'bao_protocol_error');
  }
});

const metadata = {
  name: 'key',
  type: 'aes256-gcm96',
  latest_version: 1,
  min_available_version: 0,
  min_encryption_version: 0,
  min_decryption_version: 1,
  keys: { 1: 1_750_000_000.9 },
  derived: false,
  exportable: false,
  allow_plaintext_backup: false,
  deletion_allowed: false,
  supports_encryption: true,
  supports_decryption: true,
};

test('what older servers leave out is off, and a creation time is in whole seconds', () => {
  const { versions, isConvergent, isSoftDeleted, isImported, autoRotatePeriodSeconds } = readKeyProfile(metadata);
  assert.equal([...versions], [[1, 1_750_000_000]]);
  assert.equal([isConvergent, isSoftDeleted, isImported, autoRotatePeriodSeconds], [false, false, false, 0]);
});

test('a key of another type is told as one, whatever else its answer lacks', () => {
  throwsClass(() => readKeyProfile({ type: 'rsa-2048' }), 'profile_invalid');
});

for (const name of Object.keys(metadata)) {
  test(`metadata without ${name} is no answer`, () => {
    throwsClass(() => readKeyProfile({ ...metadata, [name]: undefined }), 'bao_protocol_error');
  });
}

for (const name of ['latest_version', 'min_available_version', 'min_encryption_version', 'min_decryption_version']) {
  test(`${name} is a whole number, and auto_rotate_period where it stands`, () => {
    for (const value of [1.5, '1', null, 2 ** 53, true]) {
      throwsClass(() => readKeyProfile({ ...metadata, [name]: value }), 'bao_protocol_error');
    }
    throwsClass(() => readKeyProfile({ ...metadata, auto_rotate_period: '1h' }), 'bao_protocol_error');
    assert.is(readKeyProfile({ ...metadata, auto_rotate_period: 3_600 }).autoRotatePeriodSeconds, 3_600);
  });
}

for (const name of ['exportable', 'deletion_allowed', 'soft_deleted', 'imported_key', 'convergent_encryption']) {
  test(`${name} is a flag`, () => {
    for (const value of ['true', 1, 0]) {
      throwsClass(() => readKeyProfile({ ...metadata, [name]: value }), 'bao_protocol_error');
    }
  });
}

for (const [what, keys, errorClass] of [
  ['0', { 0: 1 }, 'profile_invalid'],
  ['01', { '01': 1 }, 'profile_invalid'],
  ['of eleven digits', { 10000000000: 1 }, 'profile_invalid'],
  ['with a time that is a text', { 1: '2025-06-15T00:00:00Z' }, 'bao_protocol_error'],
] as const) {
  test(`a version ${what} is refused: ${errorClass}`, () => {
    throwsClass(() => readKeyProfile({ ...metadata, keys }), errorClass);
  });
}

test.run();
