// The bounds of a YAML text: each is kept exactly, and one more is refused by its own name.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Lexer } from 'yaml';
import {
  maxYamlDepth,
  maxYamlKeys,
  maxYamlScalarLength,
  maxYamlTokens,
  yamlExcessOf,
} from '../../../../supervisor/gate/yaml-bounds.ts';

const nested = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`;
const comments = (count: number) => '#\n'.repeat(count);
const entries = (count: number) => '- 1\n'.repeat(count);

for (const [code, most, make] of [
  ['depth', maxYamlDepth, nested],
  ['keys', maxYamlKeys, entries],
  ['scalar', maxYamlScalarLength, (length: number) => 'x'.repeat(length)],
] as const) {
  test(`${most} is accepted by the bound on ${code}, and one more is not`, () => {
    assert.is(yamlExcessOf(make(most)), undefined);
    assert.is(yamlExcessOf(make(most + 1))?.code, code);
  });
}

test('20000 tokens are accepted, and one more is not', () => {
  const count = (text: string) => [...new Lexer().lex(text)].length;
  const rest = maxYamlTokens - count(comments(9_000));
  const most = `${comments(9_000)}${'\n'.repeat(rest)}`;
  assert.is(count(most), maxYamlTokens);
  assert.is(yamlExcessOf(most), undefined);
  assert.is(yamlExcessOf(`${most}\n`)?.code, 'tokens');
});

test('what nests in a key counts as what nests in a value, and an entry may have neither', () => {
  const key = (depth: number) => `? ${nested(depth)}\n: 1\n`;
  assert.is(yamlExcessOf(key(maxYamlDepth - 1)), undefined);
  assert.is(yamlExcessOf(key(maxYamlDepth))?.code, 'depth');
  assert.is(yamlExcessOf('? a\n? b\n-\n'), undefined);
  assert.is(yamlExcessOf('-\n- \n- 1\n'), undefined);
});

test.run();
