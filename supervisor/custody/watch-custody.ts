// Looks at what is in custody for as long as the process lives: credential files by their directories and every 10 s, the
// runtime directory and the socket's name every 30 s. Tells what it saw; repairs nothing itself.

import type { Counters } from '../../shared/channel/messages.ts';
import type { Log } from '../../shared/log/fields.ts';
import type { Cancel, Clock } from '../../shared/time/clock.ts';
import type { PinnedDirectory } from './pinned-directory.ts';
import { createQuietPeriod, watchDirectories } from './watch-directories.ts';

const credentialLookMs = 10_000;
const nameLookMs = 30_000;

export type WatchCustodyDeps = {
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Pick<Counters, 'socketLost'>;
  readonly directory: Pick<PinnedDirectory, 'check'>;
  /** Whether the socket's name still is our socket. */
  readonly isNameOurs: () => boolean;
  readonly credentialDirectories: () => readonly string[];
  readonly credentialsChanged: () => void;
  /** `counters.socketLost` changed. */
  readonly countersChanged: () => void;
  /** The name is lost and its directory is safe: it can be bound anew. */
  readonly nameLost: () => void;
};

export type CustodyWatch = {
  /** Other directories may be named now. */
  readonly rewatch: () => void;
};

export function watchCustody(deps: WatchCustodyDeps): CustodyWatch {
  const { clock, log, counters } = deps;
  const every = (ms: number, look: () => void) => {
    const tick = () => {
      look();
      clock.after(ms, tick);
    };
    clock.after(ms, tick);
  };
  every(credentialLookMs, deps.credentialsChanged);
  const event = createQuietPeriod(clock, deps.credentialsChanged);
  let unwatch: Cancel = watchDirectories(deps.credentialDirectories(), event);
  every(nameLookMs, () => {
    const isSafe = isDirectorySafe(deps);
    const isOurs = isNameOurs(deps);
    const isLost = !isSafe || !isOurs;
    if (isLost !== counters.socketLost) {
      counters.socketLost = isLost;
      const hint = isSafe ? 'the name of the socket is gone or foreign' : 'put owner and mode of its directory right';
      if (isLost) log('error', 'socket.lost', { hint });
      else log('info', 'socket.found');
      deps.countersChanged();
    }
    if (isSafe && !isOurs) deps.nameLost();
  });
  return {
    rewatch: () => {
      unwatch();
      unwatch = watchDirectories(deps.credentialDirectories(), event);
    },
  };
}

function isNameOurs(deps: WatchCustodyDeps): boolean {
  try {
    return deps.isNameOurs();
  } catch {
    return false;
  }
}

function isDirectorySafe({ directory, log }: WatchCustodyDeps): boolean {
  try {
    directory.check();
    return true;
  } catch {
    log('error', 'directory.unsafe', { check: 'gate.runtime_directory' });
    return false;
  }
}
