// A directory kept by descriptor, and the question whether its path still leads to it. While it is held its inode number is not
// given to another one.

import { closeSync, constants, fstatSync, lstatSync, openSync, realpathSync, type Stats } from 'node:fs';
import { dirname, join } from 'node:path';
import { isDeletedRoot, mountRootOf } from './mount-root.ts';

/**
 * `replaced`: the path leads to something else. `missing`: it leads to nothing. `stale`: it leads to the one that is held, or
 * to nothing, only because our mounts still show what was removed or moved away on the host; a new process would see more.
 * `unreachable`: a parent of it may not be passed, so nobody can tell, a new process neither.
 */
export const lossReasons = ['replaced', 'missing', 'stale', 'unreachable'] as const;
export type DirectoryFinding = 'here' | (typeof lossReasons)[number];

export type HeldDirectory = {
  readonly descriptor: number;
  readonly look: () => DirectoryFinding;
  readonly close: () => void;
};

/** O_PATH, which Node does not name: permission to pass through the parents is enough. */
const pathOnly = 0o10000000;
export const openFlags = { forUse: constants.O_RDONLY, forWatching: pathOnly } as const;

/** @throws an error of the system when there is no such directory, or it is a link */
export function holdDirectory(path: string, use: keyof typeof openFlags): HeldDirectory {
  const descriptor = openSync(path, openFlags[use] | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  const rootAtFirst = mountRootOf(withoutLinks(path));
  const look = (): DirectoryFinding => {
    const held = fstatSync(descriptor);
    const named = lookAtPath(path);
    if (named === 'unreachable') return 'unreachable';
    if (named !== undefined && !isSame(named, held)) return 'replaced';
    const root = mountRootOf(withoutLinks(path));
    const isViewOld = isDeletedRoot(root) || (root !== undefined && rootAtFirst !== undefined && root !== rootAtFirst);
    if (named === undefined) return isViewOld ? 'stale' : 'missing';
    return held.nlink === 0 || isViewOld ? 'stale' : 'here';
  };
  return { descriptor, look, close: () => closeSync(descriptor) };
}

/** The entry itself, not what a link leads to; undefined: nothing is there. Never throws. */
export function lookAtPath(path: string): Stats | 'unreachable' | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false });
  } catch {
    // A parent that is closed to us, or links that go round: the system answers with an error all the same.
    return 'unreachable';
  }
}

function isSame(one: Stats, other: Stats): boolean {
  return one.dev === other.dev && one.ino === other.ino;
}

/** The path as the table of mounts spells it; what is missing at its end is kept. */
function withoutLinks(path: string): string {
  const parent = dirname(path);
  if (parent === path) return path;
  try {
    return join(realpathSync(parent), path.slice(parent === '/' ? 1 : parent.length + 1));
  } catch {
    return path;
  }
}
