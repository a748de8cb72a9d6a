// Since when an address has a node that cannot serve: from its first bad answer, until ten seconds without one.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createTroubles } from '../../../../plugin/openbao/trouble.ts';

test('a trouble begins with its first bad answer and lasts while they come, each address for itself', () => {
  let nowMs = 5_000;
  const { note } = createTroubles(() => nowMs);
  assert.is(note('a'), Number.POSITIVE_INFINITY);
  nowMs += 9_999;
  assert.is(note('a'), 5_000);
  assert.is(note('b'), Number.POSITIVE_INFINITY);
  nowMs += 9_999;
  assert.is(note('a'), 5_000, 'the last bad answer counts');
  assert.is(note('b'), 14_999);
});

test('ten seconds without a bad answer end it', () => {
  let nowMs = 0;
  const { note } = createTroubles(() => nowMs);
  note('a');
  nowMs += 10_000;
  assert.is(note('a'), Number.POSITIVE_INFINITY);
  nowMs += 1;
  assert.is(note('a'), 10_000);
});

test.run();
