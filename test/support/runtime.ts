// The runtime for users that cannot reach this checkout, which may lie below a folder of somebody else's home.

import { chmodSync, copyFileSync, linkSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A second name for a file, or a copy where there cannot be one. */
export function linkOrCopy(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch {
    copyFileSync(from, to);
  }
}

/** Runs with a path at which any user can start the runtime of this process. */
export function withRuntime<T>(run: (runtime: string) => T): T {
  const directory = mkdtempSync(join(tmpdir(), 'bao-kms-runtime-'));
  chmodSync(directory, 0o755);
  const runtime = join(directory, 'node');
  try {
    linkOrCopy(process.execPath, runtime);
    return run(runtime);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
