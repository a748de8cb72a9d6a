// Check 6: the state directory, and nobody else who serves from it or from the socket.

import { type Lock, takeLock } from '../../custody/lock.ts';
import { type PinnedDirectory, pinDirectory, splitPath } from '../../custody/pinned-directory.ts';
import { checkNobodyRuns, socketLockName, socketLockPath, stateLockPath } from '../caller.ts';
import { type Facts, type GateCheck, lockDepsOf, type Visit } from './check.ts';

/** Of a command: it serves nobody and has no socket. One that only reads may run beside a provider. */
export const stateLock: GateCheck<'helpers' | 'loaded', 'stateDirectory', 'locks'> = {
  title: 'the directory of state.path is safe, and for a command that changes the state no provider holds it',
  needs: ['helpers', 'loaded'],
  gives: ['stateDirectory'],
  look: (facts, visit) => lookAtLocks(facts, visit, visit.purpose === 'read' ? [] : [stateLockPath(placesIn(facts))]),
  take: async (facts, visit) => {
    const stateDirectory = pinState(facts, visit);
    if (visit.purpose === 'read') return { stateDirectory, locks: {} };
    return { stateDirectory, locks: { state: await takeStateLock(stateDirectory, facts, visit) } };
  },
};

export const locks: GateCheck<'helpers' | 'loaded' | 'socket', 'stateDirectory', 'locks'> = {
  title: 'the directory of state.path is safe, and no other provider holds it or the socket',
  needs: ['helpers', 'loaded', 'socket'],
  gives: ['stateDirectory'],
  look: (facts, visit) => lookAtLocks(facts, visit, [stateLockPath(placesIn(facts)), socketLockPath(placesIn(facts))]),
  take: async (facts, visit) => {
    const stateDirectory = pinState(facts, visit); // step: lock.pin
    const state = await takeStateLock(stateDirectory, facts, visit);
    const { directory, name } = facts.socket;
    const runtime = await takeLock(directory, socketLockName(name), lockDepsOf(visit.deps, facts.helpers));
    visit.hold(runtime);
    return { stateDirectory, locks: { state, runtime } };
  },
};

type Needed = Pick<Facts, 'helpers' | 'loaded'>;

const placesIn = ({ loaded }: Needed) => ({
  statePath: loaded.config.state.path,
  socketPath: loaded.config.server.socketPath,
});

async function lookAtLocks(facts: Needed, visit: Visit, paths: readonly string[]) {
  const stateDirectory = pinState(facts, visit);
  await checkNobodyRuns(paths, lockDepsOf(visit.deps, facts.helpers));
  return { stateDirectory };
}

function pinState({ loaded }: Needed, { deps, hold }: Visit): PinnedDirectory {
  const directory = pinDirectory(splitPath(loaded.config.state.path).directory, 'state', deps.identity.uid);
  hold({ release: directory.close });
  return directory;
}

async function takeStateLock(directory: PinnedDirectory, { helpers, loaded }: Needed, visit: Visit): Promise<Lock> {
  const { name } = splitPath(loaded.config.state.path);
  const lock = await takeLock(directory, `${name}.lock`, lockDepsOf(visit.deps, helpers));
  visit.hold(lock); // step: lock.taken
  return lock;
}
