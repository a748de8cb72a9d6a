// Whose a path is, and whether we may read it: for advice to the one who runs a command, never to decide about trust.

import { accessSync, constants, lstatSync } from 'node:fs';

export type Owner = { readonly uid: number; readonly gid: number };

/** Undefined when nothing is there, or when it cannot be seen from here. */
export function ownerOf(path: string): Owner | undefined {
  try {
    const { uid, gid } = lstatSync(path);
    return { uid, gid };
  } catch {
    return undefined;
  }
}

/** Whether it is the rights of the caller that keep it from reading, and not that nothing is there. */
export function isDenied(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return false;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EACCES';
  }
}
