// Shapes of messages: each says no to everything that is just beside it, and what it says is what a schema library says.

import { Type as Library } from 'typebox';
import { Check } from 'typebox/value';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { check, type Shape, type Static, Type } from '../../../../shared/channel/shape.ts';

const count = Type.Integer({ minimum: 0, maximum: 9 });
const person = Type.Object({ name: Type.String({ maxLength: 3 }), age: Type.Optional(count) });

const rows: readonly (readonly [string, Shape, readonly string[], readonly string[]])[] = [
  ['a whole number', count, ['0', '9'], ['-1', '10', '1.5', '"1"', 'null', '1e999', 'true', '[1]', '{}']],
  ['a number', Type.Number({ minimum: 0 }), ['0', '0.5', '1e300'], ['-0.1', '1e999', '"1"', 'null']],
  ['a text', Type.String({ maxLength: 2 }), ['""', '"ab"'], ['"abc"', '"😀a"', '1', 'null', '["a"]']],
  [
    'a text with a pattern',
    Type.String({ pattern: '^[0-9a-f]{1,2}$' }),
    ['"0f"'],
    ['""', '"0f0"', '"g"', '"0\\n"', '"0f\\n"'],
  ],
  ['yes or no', Type.Boolean(), ['true', 'false'], ['0', '"true"', 'null']],
  ['one word', Type.Literal('a'), ['"a"'], ['"A"', '["a"]', 'null']],
  ['a word of a list', Type.Enum(['a', 'b']), ['"a"', '"b"'], ['"c"', '["a"]', '"toString"', 'null']],
  [
    'a list',
    Type.Array(count, { maxItems: 2 }),
    ['[]', '[1,2]'],
    ['[1,2,3]', '[1,"2"]', '{"length":0}', '"12"', 'null'],
  ],
  [
    'named values',
    Type.Record(Type.String({ maxLength: 2 }), count),
    ['{}', '{"ab":1}'],
    ['{"abc":1}', '{"a":"1"}', '{"__proto__":{}}', '[]', 'null'],
  ],
  [
    'members',
    person,
    ['{"name":"a"}', '{"age":1,"name":"a"}'],
    [
      '{}',
      '{"age":1}',
      '{"name":"a","age":null}',
      '{"name":"a","more":1}',
      '{"name":"a","__proto__":1}',
      '{"name":"a","toString":1}',
      '[]',
      'null',
      '"a"',
    ],
  ],
  ['one of several', Type.Union([Type.Literal('a'), person]), ['"a"', '{"name":"a"}'], ['"b"', '{"name":1}', 'null']],
  ['anything', Type.Unknown(), ['null', '[]', '1'], []],
];

for (const [what, shape, good, bad] of rows) {
  test(`${what}: fits only what it is`, () => {
    for (const text of good) assert.ok(check(shape, JSON.parse(text)), text);
    for (const text of bad) assert.not.ok(check(shape, JSON.parse(text)), text);
  });
}

test('an absent member that is inherited is absent', () => {
  assert.not.ok(check(Type.Object({ constructor: Type.Unknown() }), {}));
  assert.not.ok(check(person, Object.create({ name: 'a' })));
});

test('the type of a shape is that of its values', () => {
  const value: Static<typeof person> = { name: 'a' };
  const age: number | undefined = value.age;
  // @ts-expect-error a member that the shape does not have
  const unknownMember: unknown = value.more;
  // @ts-expect-error a word that is not in the list
  const word: Static<ReturnType<typeof wordShape>> = 'c';
  assert.equal([age, unknownMember, word], [undefined, undefined, 'c']);
});
const wordShape = () => Type.Enum(['a', 'b']);

test('ten thousand values that nearly fit are judged as by a schema library', () => {
  const closed = { additionalProperties: false };
  const libraryPerson = Library.Object(
    { name: Library.String({ maxLength: 3 }), age: Library.Optional(Library.Integer({ minimum: 0, maximum: 9 })) },
    closed,
  );
  const library = Library.Union([Library.Literal('a'), libraryPerson, Library.Array(libraryPerson, { maxItems: 2 })]);
  const ours = Type.Union([Type.Literal('a'), person, Type.Array(person, { maxItems: 2 })]);
  let seed = 1;
  const pick = <T>(list: readonly T[]): T => {
    seed = (seed * 48_271) % 2_147_483_647;
    return list[seed % list.length] as T;
  };
  const leaf = () => pick<unknown>(['', 'abc', 'abcd', 0, 9, 10, -1, 1.5, null, true, [], {}]);
  const member = () => ({
    ...pick<object>([{}, { name: pick(['', 'abc', 'abcd', 1, null]) }, { name: 'a' }]),
    ...pick<object>([{}, { age: leaf() }, {}, { more: leaf() }]),
  });
  let fitting = 0;
  for (let round = 0; round < 10_000; round += 1) {
    const value = pick<() => unknown>([
      leaf,
      member,
      () => [member(), member()],
      () => [member()],
      () => [member(), member(), member()],
    ])();
    assert.is(check(ours, value), Check(library, value), JSON.stringify(value));
    if (check(ours, value)) fitting += 1;
  }
  assert.ok(fitting > 1_000 && fitting < 9_000, `${fitting} fit`);
});

test.run();
