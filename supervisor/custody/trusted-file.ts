// Reads a file only if nobody else can have written it: type, links, owner, mode, ancestors, size; opened once, checked on
// the descriptor, compared with the name again. What the bytes mean is somebody else's business.

import { closeSync, constants, fstatSync, lstatSync, openSync, readlinkSync, readSync, type Stats } from 'node:fs';
import { dirname, join } from 'node:path';
import { ProviderError } from '../../shared/errors/error.ts';
import { type FileReason, fileReasons } from '../../shared/errors/words.ts';

export { type FileReason, fileReasons };

export type FileRules = {
  /** Configuration field, for messages. */
  readonly field: string;
  /** Mode bits that must not be set. */
  readonly forbiddenBits: number;
  readonly maxBytes: number;
};

export type Reader = { readonly uid: number; readonly gids: readonly number[] };
export type TrustedFile = {
  readonly bytes: Buffer;
  readonly modifiedAtUnixMs: number;
  /** Changes when the file is written or replaced, also with the same bytes: device, inode, time and size. */
  readonly identity: string;
};

/**
 * @param path  absolute; its last component must be no link, directories above it may be
 * @param whileOpening  hooks of tests: before and after the file is opened
 * @throws ProviderError `file_unsafe`, `file_changed`, `file_too_large`; facts: field, reason
 */
export function readTrustedFile(
  path: string,
  rules: FileRules,
  reader: Reader,
  whileOpening: { readonly before?: () => void; readonly after?: () => void } = {},
): TrustedFile {
  if (!path.startsWith('/')) throw unsafe(rules, 'absolute_path_required', 'must be an absolute path');
  checkStats(lstatOf(path, rules), rules, reader);
  checkAncestors(path, rules, reader); // control: trusted-file.ancestors
  whileOpening.before?.();
  const descriptor = openTrusted(path, rules);
  try {
    whileOpening.after?.();
    const stats = fstatSync(descriptor);
    checkStats(stats, rules, reader); // control: trusted-file.descriptor
    const named = lstatOf(path, rules);
    // control: trusted-file.same-inode
    if (named.dev !== stats.dev || named.ino !== stats.ino) {
      throw new ProviderError('file_changed', `${rules.field}: changed while it was opened; try again`, {
        facts: { field: rules.field, reason: 'file_changed' },
      });
    }
    const identity = `${stats.dev} ${stats.ino} ${stats.mtimeMs} ${stats.size}`;
    return { bytes: readAll(descriptor, rules), modifiedAtUnixMs: Math.max(0, Math.floor(stats.mtimeMs)), identity };
  } finally {
    closeSync(descriptor);
  }
}

function lstatOf(path: string, rules: FileRules): Stats {
  try {
    return lstatSync(path);
  } catch {
    throw unsafe(rules, 'file_missing', 'must exist and be readable');
  }
}

function openTrusted(path: string, rules: FileRules): number {
  try {
    // control: trusted-file.no-follow
    return openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch {
    throw unsafe(
      rules,
      'file_unreadable',
      'must be readable by the user of the provider; check its owner, group and mode',
    );
  }
}

function checkStats(stats: Stats, rules: FileRules, reader: Reader): void {
  if (stats.isSymbolicLink()) throw unsafe(rules, 'symlink_unsupported', 'must not be a symlink');
  if (!stats.isFile()) throw unsafe(rules, 'regular_file_required', 'must be a regular file');
  // control: trusted-file.mode
  if ((stats.mode & rules.forbiddenBits) !== 0) {
    const mask = rules.forbiddenBits.toString(8).padStart(4, '0');
    throw unsafe(
      rules,
      'unsafe_permissions',
      `file permissions unsafe: its mode is ${(stats.mode & 0o7777).toString(8).padStart(4, '0')} and must not include ${mask}; run chmod on it`,
    );
  }
  // control: trusted-file.owner
  if (stats.uid !== 0 && stats.uid !== reader.uid) {
    throw unsafe(rules, 'foreign_owner', 'must be owned by root or by the user of the provider');
  }
  const isPrivate = (rules.forbiddenBits & 0o004) !== 0;
  const isForeignGroup = (stats.mode & 0o040) !== 0 && reader.uid !== 0 && !reader.gids.includes(stats.gid);
  if (isPrivate && isForeignGroup) {
    throw unsafe(rules, 'foreign_group', 'is readable by a group that the provider is not in');
  }
}

/**
 * Every directory that the path leads through, also before and after a link. Who owns one of them renames or replaces what is in
 * it, whatever its mode says at this moment; so does everybody who may write it, unless it is root's and sticky.
 */
function checkAncestors(path: string, rules: FileRules, reader: Reader): void {
  const left = namesOf(dirname(path)); // control: trusted-file.links-walked
  let directory = '/';
  let links = 0;
  checkAncestor(lstatOf(directory, rules), rules, reader);
  for (let name = left.shift(); name !== undefined; name = left.shift()) {
    if (name === '..') {
      directory = dirname(directory);
      continue;
    }
    const entry = join(directory, name);
    const stats = lstatOf(entry, rules);
    checkAncestor(stats, rules, reader); // control: trusted-file.link-owner
    if (!stats.isSymbolicLink()) {
      directory = entry;
      continue;
    }
    links += 1;
    if (links > maxLinks) throw unsafe(rules, 'file_missing', 'leads through too many links');
    const target = targetOf(entry, rules);
    if (target.startsWith('/')) directory = '/';
    left.unshift(...namesOf(target));
  }
}

/** As the kernel has it. */
const maxLinks = 40;

function namesOf(path: string): string[] {
  return path.split('/').filter((name) => name !== '' && name !== '.');
}

function targetOf(link: string, rules: FileRules): string {
  try {
    return readlinkSync(link);
  } catch {
    throw unsafe(rules, 'file_missing', 'must exist and be readable');
  }
}

function checkAncestor(stats: Stats, rules: FileRules, reader: Reader): void {
  // control: trusted-file.ancestor-owner
  if (stats.uid !== 0 && stats.uid !== reader.uid) {
    const why = 'has a parent directory or link that is owned by neither root nor the user of the provider';
    const remedy =
      'its owner could put another file there; chown it to root, or move the file (namei -l shows the owners)';
    throw unsafe(rules, 'foreign_ancestor', `${why}: ${remedy}`);
  }
  if (stats.isSymbolicLink()) return;
  const isShared = (stats.mode & 0o022) !== 0;
  const isSticky = (stats.mode & 0o1000) !== 0 && stats.uid === 0;
  if (isShared && !isSticky)
    throw unsafe(
      rules,
      'unsafe_ancestor',
      'has a parent directory that is writable by other users; run chmod g-w,o-w on it (namei -l shows which)',
    );
}

/** The buffer it is read into is wiped: the caller owns the only copy, and wipes that when it has passed it on. */
function readAll(descriptor: number, rules: FileRules): Buffer {
  const buffer = Buffer.alloc(rules.maxBytes + 1);
  try {
    let sizeBytes = 0;
    for (;;) {
      const count = readSync(descriptor, buffer, sizeBytes, buffer.length - sizeBytes, null);
      sizeBytes += count;
      if (count === 0 || sizeBytes === buffer.length) break;
    }
    if (sizeBytes <= rules.maxBytes) return Buffer.from(buffer.subarray(0, sizeBytes));
  } finally {
    buffer.fill(0); // control: trusted-file.wipe
  }
  const facts = { field: rules.field, reason: 'file_too_large', maxBytes: rules.maxBytes };
  throw new ProviderError('file_too_large', `${rules.field}: is larger than ${rules.maxBytes} bytes`, { facts });
}

function unsafe(rules: FileRules, reason: FileReason, message: string): ProviderError {
  return new ProviderError('file_unsafe', `${rules.field}: ${message}`, { facts: { field: rules.field, reason } });
}
