// A copy of the built distribution that a test may change; the runtime in it is a hard link where possible.

import { chmodSync, cpSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { linkOrCopy } from './runtime.ts';
import { root } from './workplace.ts';

export function copyDistribution(prefix: string): { readonly directory: string; readonly built: string } {
  const directory = mkdtempSync(join(tmpdir(), prefix));
  // The provider's user passes through it.
  chmodSync(directory, 0o755);
  const built = join(root, 'dist');
  cpSync(built, directory, { recursive: true, filter: (source) => !source.endsWith('/lib/node') });
  linkOrCopy(join(built, 'lib/node'), join(directory, 'lib/node'));
  return { directory, built };
}
