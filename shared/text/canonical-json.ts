// JSON with one spelling: member order is the caller's, strings are escaped as the formats demand (spec/formats 1.2).
// AAD, state hash and fingerprint are hashed over these bytes, so a change here breaks every existing installation.

export type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json | undefined };

const escapes: Readonly<Record<string, string>> = {
  '<': '\\u003c',
  '>': '\\u003e',
  '&': '\\u0026',
  '\u2028': '\\u2028',
  '\u2029': '\\u2029',
};

/**
 * Compact JSON, members in insertion order, undefined members left out.
 *
 * @see spec/formats 1.2: the five characters that JSON itself would not escape
 */
export function canonicalJson(value: Json): string {
  return escapeHtml(JSON.stringify(value));
}

/** The same escaping with 2-space indentation and a final newline: how state files are written. */
export function indentedJson(value: Json): string {
  return `${escapeHtml(JSON.stringify(value, null, 2))}\n`;
}

function escapeHtml(text: string): string {
  return text.replace(/[<>&\u2028\u2029]/gu, (character) => escapes[character] ?? character);
}
