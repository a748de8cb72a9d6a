// The three directories in custody, looked at together: whether their paths still lead to them. Tells a change once, in the log
// and to the plugin; what follows from it is decided elsewhere.

import type { Counters, DirectoryName } from '../../shared/channel/messages.ts';
import { directoryNames } from '../../shared/channel/messages.ts';
import type { Log } from '../../shared/log/fields.ts';
import type { DirectoryFinding } from './held-directory.ts';

export type DirectoryFindings = Readonly<Record<DirectoryName, DirectoryFinding>>;

export type DirectoryWatchDeps = {
  readonly log: Log;
  readonly counters: Pick<Counters, 'directoriesGone'>;
  readonly look: Readonly<Record<DirectoryName, () => DirectoryFinding>>;
  /** `counters.directoriesGone` changed. */
  readonly countersChanged: () => void;
  /** After every look. */
  readonly looked: (findings: DirectoryFindings) => void;
};

/** @returns looks at all three, before a use and from time to time */
export function createDirectoryWatch(deps: DirectoryWatchDeps): () => DirectoryFindings {
  return () => {
    const findings: DirectoryFindings = {
      runtime: deps.look.runtime(),
      credentials: deps.look.credentials(),
      state: deps.look.state(),
    };
    const before = deps.counters.directoriesGone;
    const now = directoryNames.filter((name) => isGone(name, findings[name]));
    if (findings.credentials === 'replaced') deps.log('info', 'directory.replaced', { name: 'credentials' });
    for (const name of now.filter((one) => !before.includes(one))) tellGone(deps.log, name, findings[name]);
    for (const name of before.filter((one) => !now.includes(one))) deps.log('info', 'directory.found', { name });
    if (now.join() !== before.join()) {
      deps.counters.directoriesGone = now;
      deps.countersChanged();
    }
    deps.looked(findings);
    return findings;
  };
}

/** Credential files are read by their paths: a new directory there is as good as the one before. */
function isGone(name: DirectoryName, finding: DirectoryFinding): boolean {
  if (name === 'credentials') return finding !== 'here' && finding !== 'replaced';
  return finding !== 'here';
}

function tellGone(log: Log, name: DirectoryName, finding: DirectoryFinding): void {
  const what = `the ${name} directory ${happened[finding]}, so ${effects[name]}`;
  log('error', 'directory.gone', { name, reason: finding, hint: `${what}; see docs/operations.md` });
}

const happened: Readonly<Record<DirectoryFinding, string>> = {
  here: 'is there',
  replaced: 'was replaced',
  missing: 'was removed',
  stale: 'was removed or moved away on the host, and this process still sees the old one',
  unreachable: 'cannot be reached: a directory above it does not let this process pass',
};

const effects: Readonly<Record<DirectoryName, string>> = {
  runtime: 'nobody can connect to the socket any more',
  credentials: 'no new credential can arrive; the one in use serves on',
  state: 'nothing can be saved',
};
