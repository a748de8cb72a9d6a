// Reads a file for a command that only judges what is in it, whoever owns it. Nothing that is used later is read this way.

import { closeSync, openSync, readSync } from 'node:fs';
import { ProviderError } from '../../shared/errors/error.ts';

/**
 * @param path  as the caller wrote it, also relative, also a pipe
 * @throws ProviderError `file_unsafe` when it cannot be read, `file_too_large`; facts: field, reason
 */
export function readPlainFile(path: string, field: string, maxBytes: number): Buffer {
  const bytes = readUpTo(path, field, maxBytes + 1);
  if (bytes.length <= maxBytes) return bytes;
  const facts = { field, reason: 'file_too_large', maxBytes };
  throw new ProviderError('file_too_large', `${field}: is larger than ${maxBytes} bytes`, { facts });
}

function readUpTo(path: string, field: string, sizeBytes: number): Buffer {
  const buffer = Buffer.alloc(sizeBytes);
  let length = 0;
  try {
    const descriptor = openSync(path, 'r');
    try {
      for (;;) {
        const count = readSync(descriptor, buffer, length, buffer.length - length, null);
        length += count;
        if (count === 0 || length === buffer.length) return buffer.subarray(0, length);
      }
    } finally {
      closeSync(descriptor);
    }
  } catch {
    const facts = { field, reason: 'file_unreadable' };
    throw new ProviderError('file_unsafe', `${field}: must exist and be readable`, { facts });
  }
}
