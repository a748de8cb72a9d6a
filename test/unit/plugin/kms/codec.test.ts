// What the generated codec cannot know: that a name of an annotation came twice.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DecryptRequest, decodeDecryptRequest } from '../../../../plugin/kms/codec.ts';

const once = Buffer.from(
  DecryptRequest.encode({
    ciphertext: Buffer.from('vault:v1:x'),
    uid: 'u',
    keyId: 'k',
    annotations: new Map([['a.example.org', Buffer.from('1')]]),
  }).finish(),
);
const onlyAnnotation = Buffer.from(
  DecryptRequest.encode({
    ciphertext: Buffer.alloc(0),
    uid: '',
    keyId: '',
    annotations: new Map([['a.example.org', Buffer.from('2')]]),
  }).finish(),
);

test('an annotation that comes once is no duplicate', () => {
  assert.is(decodeDecryptRequest(once).hasDuplicates, false);
});

test('an annotation that comes twice is told, whichever value won', () => {
  assert.is(decodeDecryptRequest(Buffer.concat([once, onlyAnnotation])).hasDuplicates, true);
});

test.run();
