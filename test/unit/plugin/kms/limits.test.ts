// Sizes at their edges, of what is answered.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { checkResponseSizes, maxAnnotationBytes, maxFieldBytes } from '../../../../plugin/kms/limits.ts';
import { throwsClass } from '../../../support/throws.ts';

const withAnnotations = (sizeBytes: number) => new Map([['a', 'x'.repeat(sizeBytes - 1)]]);

test('an answer up to the limits is answered', () => {
  const longest = 'x'.repeat(maxFieldBytes);
  assert.not.throws(() => checkResponseSizes(longest, longest, withAnnotations(maxAnnotationBytes)));
});

for (const [what, ciphertext, keyId, annotations] of [
  ['a ciphertext over the limit', 'x'.repeat(maxFieldBytes + 1), 'k', withAnnotations(2)],
  ['an empty ciphertext', '', 'k', withAnnotations(2)],
  ['a key_id over the limit', 'c', 'x'.repeat(maxFieldBytes + 1), withAnnotations(2)],
  ['annotations over the limit', 'c', 'k', withAnnotations(maxAnnotationBytes + 1)],
] as const) {
  test(`${what} is not answered`, () => {
    throwsClass(() => checkResponseSizes(ciphertext, keyId, annotations), 'response_limit');
  });
}

test.run();
