// The runtime in a second place, for users who cannot reach the first.

import { copyFileSync, linkSync } from 'node:fs';

/** A second name for a file, or a copy where there cannot be one. */
export function linkOrCopy(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch {
    copyFileSync(from, to);
  }
}
