// A copy of the built distribution that nobody else maps: a hard link would share the pages of the runtime with every other process that
// runs it, the driver first, and the provider would seem smaller than it is.

import { chmodSync, cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from '../support/workplace.ts';

export function copyPrivately(): { readonly directory: string; readonly remove: () => void } {
  const directory = mkdtempSync(join(tmpdir(), 'bao-kms-bench-'));
  // The provider's user passes through it.
  chmodSync(directory, 0o755);
  cpSync(join(root, 'dist'), directory, { recursive: true });
  return { directory, remove: () => rmSync(directory, { recursive: true, force: true }) };
}
