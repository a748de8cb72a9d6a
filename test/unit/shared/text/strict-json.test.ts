// What JSON.parse lets through and a file that decides about security must not hold.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseStrictJson } from '../../../../shared/text/strict-json.ts';
import { throwsClass } from '../../../support/throws.ts';

for (const text of [
  '{"a":null}',
  '[1,null]',
  '{"a":1,"a":1}',
  '{"a":{"b":1,"\\u0062":2}}',
  '{"a":1.5}',
  '{"a":1e3}',
  '{"a":9007199254740993}',
  '{"a":1} x',
  '[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]',
]) {
  test(`refused: ${text}`, () => {
    throwsClass(() => parseStrictJson(text), 'state_corrupt');
  });
}

test('sixteen objects or lists within each other are read, one more is not', () => {
  const objects = (depth: number) => `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`;
  const lists = (depth: number) => `${'['.repeat(depth)}1${']'.repeat(depth)}`;
  for (const nested of [objects, lists]) {
    assert.equal(parseStrictJson(nested(16)), JSON.parse(nested(16)));
    throwsClass(() => parseStrictJson(nested(17)), 'state_corrupt');
  }
});

test('a text may be empty, as a name and as a value, and hides nothing behind it', () => {
  assert.equal(parseStrictJson('{"":"","a":["",1]}'), { '': '', a: ['', 1] });
  throwsClass(() => parseStrictJson('{"":"","a":1,"a":2}'), 'state_corrupt');
  throwsClass(() => parseStrictJson('["",null]'), 'state_corrupt');
});

test('the rest is read as it stands', () => {
  assert.equal(parseStrictJson(' {"a":[1,-2,"x\\"y"],"b":true,"c":false} '), { a: [1, -2, 'x"y'], b: true, c: false });
});

test.run();
