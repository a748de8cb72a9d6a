// The directories in which credential files change: held, so that one that was replaced or removed is noticed, and watched.
// What was replaced is held and watched anew; what is gone is told, and taken again when it is back.

import { statSync } from 'node:fs';
import type { Cancel } from '../../shared/time/clock.ts';
import { type DirectoryFinding, type HeldDirectory, holdDirectory, lookAtPath } from './held-directory.ts';
import { watchDirectories } from './watch-directories.ts';

export type CredentialDirectories = {
  /**
   * What became of them since the last look: the worst of all. After `replaced` the new ones are held.
   */
  readonly look: () => DirectoryFinding;
  /** Other files may be named now. */
  readonly rewatch: () => void;
  readonly close: () => void;
};

export type CredentialDirectoriesDeps = {
  /** Asked at each `rewatch`. */
  readonly paths: () => readonly string[];
  /** Something changed in one of them. */
  readonly event: () => void;
  readonly watch?: (paths: readonly string[], event: () => void) => Cancel;
};

type Entry = { readonly isLink: boolean; readonly look: () => DirectoryFinding; readonly close: () => void };

const severity: readonly DirectoryFinding[] = ['here', 'replaced', 'unreachable', 'missing', 'stale'];

export function watchCredentialDirectories(deps: CredentialDirectoriesDeps): CredentialDirectories {
  const watch = deps.watch ?? watchDirectories;
  let entries: readonly Entry[] = [];
  let unwatch: Cancel = () => {};
  const close = () => {
    unwatch();
    for (const entry of entries) entry.close();
    entries = [];
  };
  const rewatch = () => {
    close();
    const paths = deps.paths();
    entries = paths.map(openEntry);
    unwatch = watch(paths, deps.event);
  };
  const look = (): DirectoryFinding => {
    const findings = entries.map(({ isLink: ofLink, look: lookAt }) => ({ ofLink, finding: lookAt() }));
    // A watcher sees the directory that it was given, whatever the path leads to by now.
    if (findings.some(({ finding }) => finding === 'replaced')) rewatch();
    return findings
      .filter(({ ofLink }) => !ofLink)
      .reduce<DirectoryFinding>((found, one) => worse(found, one.finding), 'here');
  };
  rewatch();
  return { look, rewatch, close };
}

function worse(one: DirectoryFinding, other: DirectoryFinding): DirectoryFinding {
  return severity.indexOf(one) > severity.indexOf(other) ? one : other;
}

function openEntry(path: string): Entry {
  if (isLink(path)) return linkEntry(path);
  const held = tryHold(path);
  if (held !== undefined) return { isLink: false, ...held };
  // Not there, or no directory: anything that can be held is a replacement.
  const look = () => {
    const found = tryHold(path);
    found?.close();
    if (found !== undefined) return 'replaced';
    return lookAtPath(path) === 'unreachable' ? 'unreachable' : 'missing';
  };
  return { isLink: false, look, close: () => {} };
}

/** A link as in `…/..data/token`: it is swapped with every update, which is no loss; only the watcher must follow. */
function linkEntry(path: string): Entry {
  const identity = () => {
    try {
      const { dev, ino } = statSync(path);
      return `${dev} ${ino}`;
    } catch {
      return '';
    }
  };
  const before = identity();
  return { isLink: true, look: () => (identity() === before ? 'here' : 'replaced'), close: () => {} };
}

/** Whether the path itself is a link; false as well where nobody can tell. */
export function isLink(path: string): boolean {
  const found = lookAtPath(path);
  return typeof found === 'object' && found.isSymbolicLink();
}

function tryHold(path: string): HeldDirectory | undefined {
  try {
    return holdDirectory(path, 'forWatching');
  } catch {
    return undefined;
  }
}
