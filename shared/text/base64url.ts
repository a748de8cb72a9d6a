// Unpadded base64url, one spelling per value: what decodes but would be written differently is refused.

/**
 * Decodes strictly.
 *
 * @returns the bytes, or undefined when the text has padding, a foreign character or non-zero unused bits
 */
export function decodeBase64url(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64url');
  return bytes.toString('base64url') === text ? bytes : undefined; // control: base64url.strict
}

/** Whether the text is the base64url of exactly 32 bytes, 43 characters, in its one spelling. */
export function isHashText(text: string): boolean {
  return text.length === 43 && decodeBase64url(text)?.length === 32;
}
