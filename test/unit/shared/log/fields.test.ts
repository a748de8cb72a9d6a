// What a line of the log may hold at most.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { allowedFields } from '../../../../shared/log/fields.ts';

test('a text is cut at 512 characters', () => {
  const { hint } = allowedFields({ hint: 'x'.repeat(600) });
  assert.is(String(hint).length, 512);
});

test('a list is cut at 8 KiB, and says how much is missing', () => {
  const problems = allowedFields({ problems: Array.from({ length: 100 }, () => 'x'.repeat(600)) })['problems'];
  assert.equal([(problems as string[]).length, (problems as string[]).at(-1)], [17, 'and 84 more']);
});

test.run();
