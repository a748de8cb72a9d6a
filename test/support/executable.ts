// Real servers are found, never built: which of some paths is a program that may be run.

import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';

/** The first of them that may be run, or undefined. */
export const firstExecutable = (paths: readonly string[]): string | undefined => paths.find(isExecutable);

/** Where a program of that name would lie on the path. */
export const onPath = (name: string): string[] =>
  (process.env['PATH'] ?? '').split(':').map((directory) => join(directory, name));

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
