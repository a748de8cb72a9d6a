// What the generated codec cannot know: that a name of an annotation came twice.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  DecryptRequest,
  DecryptResponse,
  decodeDecryptRequest,
  decodeEncryptRequest,
  encodeDecryptResponse,
} from '../../../../plugin/kms/codec.ts';
import { maxMessageBytes } from '../../../../plugin/kms/limits.ts';
import { throwsClass } from '../../../support/throws.ts';

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

test('a message of exactly 64 KiB is read, one byte more is refused, whatever it is', () => {
  const sized = (sizeBytes: number) => {
    const empty = DecryptRequest.encode({
      ciphertext: Buffer.alloc(60_000),
      uid: '',
      keyId: '',
      annotations: new Map(),
    });
    const padding = sizeBytes - empty.finish().length;
    const ciphertext = Buffer.alloc(60_000 + padding);
    return Buffer.from(DecryptRequest.encode({ ciphertext, uid: '', keyId: '', annotations: new Map() }).finish());
  };
  assert.is(sized(maxMessageBytes).length, maxMessageBytes);
  assert.is(decodeDecryptRequest(sized(maxMessageBytes)).sizeBytes, maxMessageBytes);
  throwsClass(() => decodeDecryptRequest(sized(maxMessageBytes + 1)), 'request_limit');
  throwsClass(() => decodeEncryptRequest(Buffer.alloc(maxMessageBytes + 1)), 'request_limit');
  throwsClass(() => decodeEncryptRequest(Buffer.from([0xff])), 'request_limit');
});

test('the plaintext of an answer is overwritten once it is written, and the written bytes are not', () => {
  const plaintext = Buffer.from('secret');
  const bytes = encodeDecryptResponse({ plaintext });
  assert.equal([...plaintext], [0, 0, 0, 0, 0, 0]);
  assert.is(Buffer.from(DecryptResponse.decode(bytes).plaintext).toString(), 'secret');
});

test.run();
