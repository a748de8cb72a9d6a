// A directory held by descriptor: every later step goes through the descriptor, so nobody can swap the path under us.

import { fstatSync, lstatSync, readdirSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { ProviderError } from '../../shared/errors/error.ts';
import { type DirectoryFinding, type HeldDirectory, holdDirectory } from './held-directory.ts';

export type PinnedDirectory = {
  readonly path: string;
  readonly descriptor: number;
  /** The path of an entry, resolved through the descriptor. */
  readonly at: (name: string) => string;
  /** Entry names at this moment. */
  readonly list: () => readonly string[];
  /** Whether the path still leads to it, for everybody. */
  readonly look: () => DirectoryFinding;
  /**
   * Checks again, through the descriptor and by name.
   *
   * @throws ProviderError `directory_unsafe`; facts: kind, reason
   */
  readonly check: () => void;
  readonly close: () => void;
};

type Kind = 'runtime' | 'state';

/**
 * @param kind  what the directory is for, used in messages: `runtime` or `state`
 * @param uid  who must own it; undefined: anybody
 * @throws ProviderError `directory_unsafe`; facts: kind, reason
 */
export function pinDirectory(path: string, kind: Kind, uid: number | undefined): PinnedDirectory {
  const held = openDirectory(path, kind);
  const { descriptor, look, close } = held;
  const check = () => {
    const stats = fstatSync(descriptor);
    // control: pinned-directory.mode
    if ((stats.mode & 0o022) !== 0)
      throw unsafe(kind, 'mode', 'must not be writable by group or others; run chmod g-w,o-w on it');
    if (uid !== undefined && stats.uid !== uid) {
      throw unsafe(kind, 'owner', 'must be owned by the user of the provider; chown it');
    }
    const finding = look();
    if (finding !== 'here') throw unsafe(kind, finding, lost[finding]);
  };
  try {
    check();
  } catch (error) {
    close();
    throw error;
  }
  const at = (name: string) => `/proc/self/fd/${descriptor}/${name}`;
  const list = () => readdirSync(`/proc/self/fd/${descriptor}`);
  return { path, descriptor, at, list, look, check, close };
}

const lost: Readonly<Record<Exclude<DirectoryFinding, 'here'>, string>> = {
  replaced: 'was replaced since it was opened; restart the provider when the new one is right',
  missing: 'was removed since it was opened; create it again with the owner and mode of docs/operations.md',
  unreachable: 'cannot be reached: a directory above it does not let this user pass; put its owner or mode right',
  stale:
    'was removed or moved away on the host, and this process still sees the old one; create it again with the owner and mode of docs/operations.md, then restart the provider',
};

function openDirectory(path: string, kind: Kind): HeldDirectory {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats === undefined)
    throw unsafe(kind, 'missing', 'must exist; create it with the owner and mode of docs/operations.md');
  if (stats.isSymbolicLink()) throw unsafe(kind, 'symlink', 'must not be a symlink');
  if (!stats.isDirectory()) throw unsafe(kind, 'type', 'must be a directory');
  try {
    return holdDirectory(path, 'forUse');
  } catch {
    throw unsafe(kind, 'unreadable', 'must be readable by the user of the provider');
  }
}

function unsafe(kind: Kind, reason: string, message: string): ProviderError {
  return new ProviderError('directory_unsafe', `the ${kind} directory ${message}`, { facts: { kind, reason } });
}

/** Directory and base name of a path. */
export function splitPath(path: string): { readonly directory: string; readonly name: string } {
  return { directory: dirname(path), name: basename(path) };
}
