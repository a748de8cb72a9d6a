// Looks at what is in custody for as long as the process lives: directories and credential files when something changes there
// and every 10 s, the socket's name every 30 s. Tells what it saw; repairs nothing itself.

import type { Counters } from '../../shared/channel/messages.ts';
import { hintOf } from '../../shared/errors/cause.ts';
import type { Log } from '../../shared/log/fields.ts';
import type { Clock } from '../../shared/time/clock.ts';
import { watchCredentialDirectories } from './credential-directories.ts';
import { createDirectoryWatch, type DirectoryFindings } from './directory-watch.ts';
import type { PinnedDirectory } from './pinned-directory.ts';
import { createQuietPeriod } from './watch-directories.ts';

const lookMs = 10_000;
const nameLookMs = 30_000;

export type WatchCustodyDeps = {
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Pick<Counters, 'socketLost' | 'directoriesGone'>;
  /** The ones that are held at this moment. */
  readonly runtime: () => Pick<PinnedDirectory, 'check' | 'look'>;
  readonly state: () => Pick<PinnedDirectory, 'look'>;
  /** Whether the socket's name still is our socket. */
  readonly isNameOurs: () => boolean;
  readonly credentialDirectories: () => readonly string[];
  readonly credentialsChanged: () => void;
  /** `counters` changed. */
  readonly countersChanged: () => void;
  /** The name, or the directory with it, is lost; what is at the path now may be good enough to bind it anew. */
  readonly nameLost: () => void;
  /** After a look at the name that found it ours. */
  readonly nameLooked: () => void;
  /** After every look at the directories. */
  readonly directoriesLooked: (findings: DirectoryFindings) => void;
};

export type CustodyWatch = {
  /** Other directories may be named now. */
  readonly rewatch: () => void;
  /** Looks at the directories at once, before one of them is used. */
  readonly look: () => void;
};

export function watchCustody(deps: WatchCustodyDeps): CustodyWatch {
  const { clock } = deps;
  const every = (ms: number, look: () => void) => {
    const tick = () => {
      look();
      clock.after(ms, tick);
    };
    clock.after(ms, tick);
  };
  const lookAtAll = () => {
    const { runtime } = look();
    deps.credentialsChanged();
    if (runtime === 'replaced') deps.nameLost();
  };
  const event = createQuietPeriod(clock, lookAtAll);
  const credentials = watchCredentialDirectories({ paths: deps.credentialDirectories, event });
  const look = createDirectoryWatch({
    log: deps.log,
    counters: deps.counters,
    look: {
      runtime: () => deps.runtime().look(),
      credentials: credentials.look,
      state: () => deps.state().look(),
    },
    countersChanged: deps.countersChanged,
    looked: deps.directoriesLooked,
  });
  every(lookMs, lookAtAll);
  every(nameLookMs, () => lookAtName(deps));
  return { rewatch: credentials.rewatch, look: () => void look() };
}

/** The name in its directory; a directory that is gone itself is told by the other look. */
function lookAtName(deps: WatchCustodyDeps): void {
  const { counters, log } = deps;
  const isThere = deps.runtime().look() === 'here';
  const isSafe = isThere && isDirectorySafe(deps);
  const isOurs = isNameOurs(deps);
  const isLost = !isSafe || !isOurs;
  if (isLost !== counters.socketLost) {
    counters.socketLost = isLost;
    if (isLost) log('error', 'socket.lost', { hint: lostHint(isThere, isSafe) });
    else log('info', 'socket.found');
    deps.countersChanged();
  }
  if (isSafe && !isOurs) deps.nameLost();
  if (isOurs) deps.nameLooked(); // control: watch-custody.look
}

function lostHint(isThere: boolean, isSafe: boolean): string {
  if (!isThere) return 'the directory of the socket is gone; see directory.gone';
  return isSafe
    ? 'the socket was removed, or something else stands at server.socketPath'
    : 'others may write to the directory of the socket, or it has another owner; correct its owner and mode';
}

function isNameOurs(deps: WatchCustodyDeps): boolean {
  try {
    return deps.isNameOurs();
  } catch {
    return false;
  }
}

function isDirectorySafe({ runtime, log }: WatchCustodyDeps): boolean {
  try {
    runtime().check();
    return true;
  } catch (error) {
    log('error', 'directory.unsafe', { check: 'gate.runtime_directory', hint: hintOf(error) });
    return false;
  }
}
