// What a YAML text would become, counted before it becomes anything. The parser compares each key of a map with all others and
// calls itself for each level, so 1 MiB of text can take it minutes and all memory; its lexer and its tree of tokens do neither.

import { type CST, Lexer, Parser } from 'yaml';

/** Collections within each other: the deepest field stands in four. */
export const maxYamlDepth = 16;
/** Keys and list entries together: there are about eighty fields. */
export const maxYamlKeys = 2_000;
/** One scalar, comment or run of spaces, in UTF-16 units: the longest value is a path. */
export const maxYamlScalarLength = 64 * 1_024;
/** Signs, scalars, comments and line ends: 2 000 keys need about 16 000, and each can become an error of the parser. */
export const maxYamlTokens = 20_000;

/** What is too much, in words for the operator, without a word of the text. */
export type YamlExcess = { readonly code: 'depth' | 'keys' | 'scalar' | 'tokens'; readonly message: string };

const advice = 'a configuration needs far less; check that it is the right file';
const excesses = {
  depth: { code: 'depth', message: `nests more than ${maxYamlDepth} levels; ${advice}` },
  keys: { code: 'keys', message: `has more than ${maxYamlKeys} keys and list entries; ${advice}` },
  scalar: {
    code: 'scalar',
    message: `has a value, comment or run of spaces of more than ${maxYamlScalarLength} characters; ${advice}`,
  },
  tokens: {
    code: 'tokens',
    message: `has more than ${maxYamlTokens} signs, values, comments and line ends; ${advice}`,
  },
} as const satisfies Record<YamlExcess['code'], YamlExcess>;

/**
 * Reads as far as the first bound that is passed.
 *
 * @param text  at most 1 MiB
 * @returns undefined when every bound is kept; the text can still be no YAML
 */
export function yamlExcessOf(text: string): YamlExcess | undefined {
  return excessOfTokens(text) ?? excessOfTree(text);
}

/** Before the tree is made, so that the tree is small. */
function excessOfTokens(text: string): YamlExcess | undefined {
  let tokens = 0;
  for (const token of new Lexer().lex(text)) {
    tokens += 1;
    if (token.length > maxYamlScalarLength) return excesses.scalar; // control: yaml.scalar
    if (tokens > maxYamlTokens) return excesses.tokens; // control: yaml.tokens
  }
  return undefined;
}

/** The parser's tree of tokens is made and walked without recursion; nothing in it has been composed or compared. */
function excessOfTree(text: string): YamlExcess | undefined {
  const open: { readonly token: CST.Token; readonly depth: number }[] = [];
  for (const token of new Parser().parse(text)) open.push({ token, depth: 0 });
  let keys = 0;
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { token, depth } = next;
    if (token.type === 'document' && token.value !== undefined) open.push({ token: token.value, depth });
    if (!('items' in token)) continue;
    if (depth + 1 > maxYamlDepth) return excesses.depth; // control: yaml.depth
    for (const { key, value } of token.items) {
      keys += 1;
      if (key !== null && key !== undefined) open.push({ token: key, depth: depth + 1 });
      if (value !== undefined) open.push({ token: value, depth: depth + 1 });
    }
    if (keys > maxYamlKeys) return excesses.keys; // control: yaml.keys
  }
  return undefined;
}
