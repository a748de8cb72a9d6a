// The file operations of a save, one by one, on a pinned directory. A port: tests stop after each of them.

import { constants } from 'node:fs';
import { type FileHandle, lstat, open, rename, unlink } from 'node:fs/promises';
import { ProviderError } from '../../shared/errors/error.ts';
import type { PinnedDirectory } from './pinned-directory.ts';

export type TemporaryFile = {
  readonly write: (text: string) => Promise<void>;
  readonly chmod: () => Promise<void>;
  readonly sync: () => Promise<void>;
  readonly close: () => Promise<void>;
};

export type StateFiles = {
  /** @throws ProviderError `directory_unsafe` */
  readonly checkDirectory: () => Promise<void>;
  /** Absent or a regular file. @throws ProviderError `state_permission` */
  readonly checkTarget: (name: string) => Promise<void>;
  readonly create: (temporaryName: string) => Promise<TemporaryFile>;
  readonly rename: (temporaryName: string, name: string) => Promise<void>;
  readonly remove: (temporaryName: string) => Promise<void>;
  readonly syncDirectory: () => Promise<void>;
  readonly list: () => readonly string[];
  /** @returns undefined when absent. @throws ProviderError `state_permission` for an unsafe file or one over the limit */
  readonly read: (name: string, maxBytes: number) => Promise<string | undefined>;
};

/** No owner execute, no group write or execute, nothing for others. */
const forbiddenBits = 0o137;
const stateMode = 0o640;

export function createStateFiles(directory: PinnedDirectory, uid: number): StateFiles {
  return {
    checkDirectory: async () => directory.check(),
    checkTarget: async (name) => {
      const stats = await lstat(directory.at(name)).catch(absent);
      if (stats !== undefined && !stats.isFile()) throw unsafe('is not a regular file');
    },
    create: async (name) => {
      const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
      return temporary(await open(directory.at(name), flags, stateMode));
    },
    rename: (from, to) => rename(directory.at(from), directory.at(to)),
    remove: async (name) => void (await unlink(directory.at(name)).catch(absent)),
    syncDirectory: async () => {
      const handle = await open(directory.at('.'), constants.O_RDONLY | constants.O_DIRECTORY);
      await handle.sync().finally(() => handle.close());
    },
    list: directory.list,
    read: (name, maxBytes) => readSafely(directory.at(name), uid, maxBytes),
  };
}

function temporary(handle: FileHandle): TemporaryFile {
  return {
    write: (text) => handle.writeFile(text, 'utf8'),
    chmod: () => handle.chmod(stateMode),
    sync: () => handle.sync(),
    close: () => handle.close(),
  };
}

async function readSafely(path: string, uid: number, maxBytes: number): Promise<string | undefined> {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const handle = await open(path, flags).catch((error: unknown) => {
    if (absentCode(error)) return undefined;
    throw unsafe('is a link or cannot be opened');
  });
  if (handle === undefined) return undefined;
  try {
    const stats = await handle.stat();
    if (!stats.isFile()) throw unsafe('is not a regular file');
    if ((stats.mode & forbiddenBits) !== 0)
      throw unsafe(`has permissions that are too open (found ${octal(stats.mode)}); run chmod 0640 on it`);
    if (stats.uid !== uid && stats.uid !== 0)
      throw unsafe('is owned by another user; run chown with the user of the provider on it');
    if (stats.size > maxBytes) throw new ProviderError('state_corrupt', 'a state file is larger than its limit');
    return await handle.readFile('utf8');
  } finally {
    await handle.close();
  }
}

function octal(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, '0');
}

function absent(error: unknown): undefined {
  if (absentCode(error)) return undefined;
  throw error;
}

function absentCode(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

function unsafe(what: string): ProviderError {
  return new ProviderError('state_permission', `a state file ${what}; nothing was changed`);
}
