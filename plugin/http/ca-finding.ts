// What is wrong with a CA file in which no usable certificate was found: enough to know what to do, nothing of its content.

import type { CaFinding } from '../../shared/errors/cause.ts';

/** The first byte of a certificate in DER: a sequence. */
const derSequence = 0x30;

/** @param bytes  content of the file, from which no trust could be made */
export function caFindingOf(bytes: Buffer): CaFinding {
  const text = bytes.toString('latin1');
  if (text.trim() === '') return 'ca_empty';
  if (text.includes('-----BEGIN CERTIFICATE-----')) return 'ca_damaged';
  return bytes[0] === derSequence ? 'ca_der' : 'ca_no_certificate';
}
