// An exclusive advisory lock on a file that is never deleted. The helper `flock` takes it on a descriptor it inherits; the
// lock stays with our open file description and dies with us.

import { closeSync, constants, fstatSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { ProviderError } from '../../shared/errors/error.ts';
import type { PinnedDirectory } from './pinned-directory.ts';

export type LockDeps = {
  readonly uid: number;
  /** Runs `flock -n -x 3` on the descriptor: exit code 0 locked, 1 busy. */
  readonly flock: (descriptor: number) => Promise<number | undefined>;
  /** Whether nobody holds the exclusive lock, as far as can be told. */
  readonly isShareable: (descriptor: number) => Promise<boolean>;
  readonly pause: (ms: number) => Promise<void>;
  readonly pid: number;
  readonly wallMs: () => number;
};

export type Lock = { readonly release: () => void };

const secondTryMs = 100;

/**
 * @throws ProviderError `locked` naming the other owner, `directory_unsafe` when the lock file itself is not safe, or
 * `runtime_unsupported` when the helper does not run
 */
export async function takeLock(directory: PinnedDirectory, name: string, deps: LockDeps): Promise<Lock> {
  const descriptor = openLock(directory, name);
  try {
    checkLockFile(descriptor, deps.uid);
    let exitCode = await deps.flock(descriptor);
    if (exitCode === 1) {
      await deps.pause(secondTryMs);
      exitCode = await deps.flock(descriptor);
    }
    if (exitCode === 1) throw locked(directory.at(name));
    if (exitCode !== 0) throw noHelper(exitCode);
    writeOwner(descriptor, deps);
    return { release: () => closeSync(descriptor) };
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
}

/**
 * Looks whether somebody holds a lock, without making its file or taking it. One that is not there, or that we may not open,
 * says nothing.
 *
 * @throws ProviderError `locked` naming the owner
 */
export async function checkLockFree(path: string, deps: Pick<LockDeps, 'isShareable' | 'pause'>): Promise<void> {
  const descriptor = openExisting(path);
  if (descriptor === undefined) return;
  try {
    if (!fstatSync(descriptor).isFile() || (await deps.isShareable(descriptor))) return;
    await deps.pause(secondTryMs);
    if (!(await deps.isShareable(descriptor))) throw locked(path);
  } finally {
    closeSync(descriptor);
  }
}

function openExisting(path: string): number | undefined {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch {
    return undefined;
  }
}

/** For the message of somebody who comes second; a full file system takes nothing from the lock itself. */
function writeOwner(descriptor: number, deps: LockDeps): void {
  try {
    ftruncateSync(descriptor, 0);
    writeSync(descriptor, `${deps.pid} ${new Date(deps.wallMs()).toISOString()}\n`, 0);
  } catch {
    // Nobody will be named.
  }
}

function openLock(directory: PinnedDirectory, name: string): number {
  try {
    const flags = constants.O_CREAT | constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    return openSync(directory.at(name), flags, 0o600);
  } catch {
    throw unsafe(
      'open',
      'cannot be opened or made; is the directory writable for the user of the provider, and the file system not full?',
    );
  }
}

function checkLockFile(descriptor: number, uid: number): void {
  const stats = fstatSync(descriptor);
  if (!stats.isFile()) throw unsafe('type', 'must be a regular file');
  if ((stats.mode & 0o077) !== 0) throw unsafe('mode', 'must have mode 0600');
  if (stats.uid !== uid) throw unsafe('owner', 'must be owned by the user of the provider');
  if (stats.nlink !== 1) throw unsafe('links', 'must have one name only');
}

function locked(path: string): ProviderError {
  const owner = /^([0-9]{1,10}) ([0-9TZ:.-]{10,30})\n$/u.exec(readOwner(path));
  const who = owner === null ? 'another provider' : `the provider with process id ${owner[1]}, started ${owner[2]},`;
  return new ProviderError(
    'locked',
    `${who} holds the lock; stop it first, or give a second provider paths of its own`,
  );
}

function noHelper(exitCode: number | undefined): ProviderError {
  const end = exitCode === undefined ? 'did not run to its end' : `ended with ${exitCode}`;
  return new ProviderError(
    'runtime_unsupported',
    `the lock cannot be taken: the helper flock ${end}; run \`flock --version\` as the user of the provider`,
  );
}

function readOwner(path: string): string {
  try {
    return readFileSync(path, 'utf8').slice(0, 64);
  } catch {
    return '';
  }
}

function unsafe(reason: string, message: string): ProviderError {
  return new ProviderError('directory_unsafe', `the lock file ${message}`, { facts: { kind: 'lock', reason } });
}
