// SHA-256 as 43 characters of unpadded base64url: the only form in which identities leave this program.

import { hash } from 'node:crypto';

/** H(text) (spec/formats 1.1): base64url of SHA-256 of the UTF-8 bytes, always 43 characters. */
export function hashText(text: string): string {
  return hash('sha256', text, 'base64url');
}
