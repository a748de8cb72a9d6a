// A directory held by descriptor: every later step goes through the descriptor, so nobody can swap the path under us.

import { closeSync, constants, fstatSync, lstatSync, openSync, readdirSync } from 'node:fs';
import { ProviderError } from '../../shared/errors/error.ts';

export type PinnedDirectory = {
  readonly path: string;
  readonly descriptor: number;
  /** The path of an entry, resolved through the descriptor. */
  readonly at: (name: string) => string;
  /** Entry names at this moment. */
  readonly list: () => readonly string[];
  /**
   * Checks again, through the descriptor and by name.
   *
   * @throws ProviderError `directory_unsafe`
   */
  readonly check: () => void;
  readonly close: () => void;
};

/**
 * @param kind  what the directory is for, used in messages: `runtime` or `state`
 * @param uid  who must own it; undefined: anybody
 * @throws ProviderError `directory_unsafe`; facts: kind, reason
 */
export function pinDirectory(path: string, kind: 'runtime' | 'state', uid: number | undefined): PinnedDirectory {
  const descriptor = openDirectory(path, kind);
  const check = () => {
    const stats = fstatSync(descriptor);
    if ((stats.mode & 0o022) !== 0)
      throw unsafe(kind, 'mode', 'must not be writable by group or others; chmod g-w,o-w');
    if (uid !== undefined && stats.uid !== uid) {
      throw unsafe(kind, 'owner', 'must be owned by the user of the provider; chown it');
    }
    const named = lstatSync(path, { throwIfNoEntry: false });
    if (named === undefined || named.dev !== stats.dev || named.ino !== stats.ino) {
      throw unsafe(kind, 'replaced', 'was replaced since it was opened; restart the provider when it is right again');
    }
  };
  try {
    check();
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
  const at = (name: string) => `/proc/self/fd/${descriptor}/${name}`;
  const list = () => readdirSync(`/proc/self/fd/${descriptor}`);
  return { path, descriptor, at, list, check, close: () => closeSync(descriptor) };
}

function openDirectory(path: string, kind: string): number {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats === undefined)
    throw unsafe(kind, 'missing', 'must exist; create it with the owner and mode of docs/operations.md');
  if (stats.isSymbolicLink()) throw unsafe(kind, 'symlink', 'must not be a symlink');
  if (!stats.isDirectory()) throw unsafe(kind, 'type', 'must be a directory');
  try {
    return openSync(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  } catch {
    throw unsafe(kind, 'unreadable', 'must be readable by the user of the provider');
  }
}

function unsafe(kind: string, reason: string, message: string): ProviderError {
  return new ProviderError('directory_unsafe', `the ${kind} directory ${message}`, { facts: { kind, reason } });
}
