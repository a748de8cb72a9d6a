// Standard base64 with padding, as Transit speaks it. Node's own decoder skips what it does not know; this one refuses.

/**
 * Decodes strictly.
 *
 * @returns the bytes, or undefined when the text is not the padded standard base64 of some bytes in its one spelling
 */
export function decodeBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : undefined;
}
