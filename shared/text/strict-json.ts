// JSON for files that decide about security: duplicate members, null, fractions and anything after the value are refused,
// which JSON.parse lets through. The built-in parser does the reading; this one only looks for what it hides.

import { ProviderError } from '../errors/error.ts';

const maxDepth = 16;

/**
 * Parses one JSON value.
 *
 * @throws ProviderError `state_corrupt`: not JSON, a member named twice, null, or a number that is not a plain integer
 */
export function parseStrictJson(text: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw corrupt('is not JSON');
  }
  scanValue(text, skipSpace(text, 0), 0);
  return value;
}

/** Walks over text that is known to be JSON, so every character class is certain. Returns the index behind the value. */
function scanValue(text: string, start: number, depth: number): number {
  if (depth > maxDepth) throw corrupt('is nested too deeply');
  const first = text.charAt(start);
  if (first === '{') return scanObject(text, start, depth);
  if (first === '[') return scanArray(text, start, depth);
  if (first === '"') return stringEnd(text, start);
  if (first === 'n') throw corrupt('contains null'); // control: json.no-null
  if (first === 't') return start + 4;
  if (first === 'f') return start + 5;
  return scanInteger(text, start);
}

function scanObject(text: string, start: number, depth: number): number {
  const names = new Set<string>();
  let index = skipSpace(text, start + 1);
  while (text.charAt(index) !== '}') {
    const end = stringEnd(text, index);
    const name: unknown = JSON.parse(text.slice(index, end));
    if (typeof name !== 'string' || names.has(name)) throw corrupt('has a member twice'); // control: json.member-twice
    names.add(name);
    index = skipSpace(text, end) + 1;
    index = skipSpace(text, scanValue(text, skipSpace(text, index), depth + 1));
    if (text.charAt(index) === ',') index = skipSpace(text, index + 1);
  }
  return index + 1;
}

function scanArray(text: string, start: number, depth: number): number {
  let index = skipSpace(text, start + 1);
  while (text.charAt(index) !== ']') {
    index = skipSpace(text, scanValue(text, index, depth + 1));
    if (text.charAt(index) === ',') index = skipSpace(text, index + 1);
  }
  return index + 1;
}

function scanInteger(text: string, start: number): number {
  const [number = ''] = /^[-+0-9.eE]+/u.exec(text.slice(start, start + 40)) ?? [];
  if (!/^-?(?:0|[1-9][0-9]*)$/u.test(number) || !Number.isSafeInteger(Number(number))) {
    throw corrupt('has a number that is not a plain integer below 2^53');
  }
  return start + number.length;
}

function stringEnd(text: string, start: number): number {
  let index = start + 1;
  while (text.charAt(index) !== '"') index += text.charAt(index) === '\\' ? 2 : 1;
  return index + 1;
}

function skipSpace(text: string, start: number): number {
  let index = start;
  while (' \t\r\n'.includes(text.charAt(index)) && index < text.length) index += 1;
  return index;
}

function corrupt(what: string): ProviderError {
  return new ProviderError('state_corrupt', `the file ${what}; restore it from backup or from a peer node`);
}
