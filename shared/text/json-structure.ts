// How much a JSON text becomes: counted before it is parsed, because a small text of many small objects becomes a large heap.

import { ProviderError } from '../errors/error.ts';

export type JsonStructure = {
  /** Opening braces and brackets outside of strings. */
  readonly containers: number;
  /** Commas outside of strings: together with the containers, a bound on the values. */
  readonly separators: number;
};

const [quote, backslash, brace, bracket, comma] = [0x22, 0x5c, 0x7b, 0x5b, 0x2c];

/** @param bytes  UTF-8, valid JSON or not: the counts are right for every text that a parser accepts */
export function countStructure(bytes: Uint8Array): JsonStructure {
  let [containers, separators] = [0, 0];
  let isInString = false;
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes[at];
    if (byte === quote) isInString = !isInString;
    else if (isInString) at += byte === backslash ? 1 : 0;
    else if (byte === brace || byte === bracket) containers += 1;
    else if (byte === comma) separators += 1;
  }
  return { containers, separators };
}

/**
 * Refuses a text that would become more than it may.
 *
 * @throws ProviderError `message_invalid`
 */
export function checkStructure(bytes: Uint8Array, greatest: JsonStructure): void {
  const { containers, separators } = countStructure(bytes);
  if (containers <= greatest.containers && separators <= greatest.separators) return;
  throw new ProviderError('message_invalid', 'a text holds more values than it may');
}
