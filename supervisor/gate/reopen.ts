// The checks that run again before every relaunch, and what they repair: a runtime directory that was replaced by a good one is
// pinned and locked, a name that was lost is bound anew. Nothing counts until it is adopted; abandoned, it leaves nothing.

import type { ListenerLook } from '../custody/listener-look.ts';
import type { Listeners } from '../custody/listeners.ts';
import { takeLock } from '../custody/lock.ts';
import { pinDirectory } from '../custody/pinned-directory.ts';
import { type BoundSocket, bindSocket, proveSocketDead, type SocketName } from '../custody/socket.ts';
import { socketLockName } from './caller.ts';
import { check, type GateDeps, lockDepsOf } from './checks/check.ts';
import type { Passed } from './gate.ts';

export type Reopened = {
  /** The custody with the runtime directory as it is now. */
  readonly held: Pick<Passed, 'socket' | 'locks'>;
  readonly listeners: Listeners;
  readonly isBoundAnew: boolean;
  /** The name was ours, and nobody could connect. */
  readonly wasShut: boolean;
  /** From now on this counts; what was held before is let go. */
  readonly adopt: () => void;
  readonly abandon: () => void;
};

/** The runtime directory that is held, or the one that took its place. */
type Runtime = Pick<Passed, 'socket' | 'locks'> & {
  readonly isNew: boolean;
  readonly adopt: () => void;
  readonly abandon: () => void;
};

/**
 * Runtime directory, state pair, and the socket's name, which must be ours and not shut down, or else is proven free as at the start.
 * Credentials are looked at elsewhere: one that fails is passed on as absent.
 *
 * @throws GateRefusal, ProviderError `listener_unavailable`; nothing changed then
 */
export async function reopen(
  passed: Passed,
  listeners: Listeners,
  deps: GateDeps,
  look: Pick<ListenerLook, 'isSocketShut'>,
): Promise<Reopened> {
  const runtime = await regainRuntime(passed, deps);
  try {
    await check('gate.state', () => passed.store.refresh()); // control: relaunch.state-check
    const isOurs = !runtime.isNew && listeners.socket.isOurs();
    const { directory, name } = runtime.socket;
    const wasShut = isOurs && (await look.isSocketShut(listeners, directory.at(name)));
    if (isOurs && !wasShut) return unchanged(runtime, listeners);
    await check('gate.socket', () => proveSocketDead(runtime.socket, deps.clock));
    const socket = await check('gate.listeners', () => bindSocket(runtime.socket, socketOptions(passed, deps)));
    return { ...boundAnew(runtime, listeners, socket), wasShut };
  } catch (error) {
    runtime.abandon();
    throw error;
  }
}

/** How the socket is bound. */
export function socketOptions(passed: Pick<Passed, 'identity' | 'config'>, deps: GateDeps) {
  const { socketGid } = passed.identity;
  return { gid: socketGid, mode: passed.config.server.socketMode, uid: deps.identity.uid, randomHex: deps.randomHex };
}

type Bound = Omit<Reopened, 'wasShut'>;

function unchanged(runtime: Runtime, listeners: Listeners): Reopened {
  const nothing = () => {};
  return { held: runtime, listeners, isBoundAnew: false, wasShut: false, adopt: nothing, abandon: nothing };
}

function boundAnew(runtime: Runtime, before: Listeners, socket: BoundSocket): Bound {
  return {
    held: { socket: runtime.socket, locks: runtime.locks },
    listeners: { ...before, socket },
    isBoundAnew: true,
    adopt: () => {
      // In a directory that lives on under another path the old name would lead to nobody.
      removeQuietly(before.socket);
      before.socket.handle.close();
      runtime.adopt();
    },
    abandon: () => {
      removeQuietly(socket);
      socket.handle.close();
      runtime.abandon();
    },
  };
}

function removeQuietly(socket: BoundSocket): void {
  try {
    socket.removeName();
  } catch {
    // A directory that we may no longer write leads nobody here either.
  }
}

async function regainRuntime(passed: Passed, deps: GateDeps): Promise<Runtime> {
  const { socket, locks } = passed;
  const { directory: before, name } = socket;
  const isReplaced = before.look() === 'replaced';
  if (!isReplaced) {
    await check('gate.runtime_directory', before.check);
    return { socket, locks, isNew: false, adopt: () => {}, abandon: () => {} };
  }
  const directory = await check('gate.runtime_directory', () =>
    pinDirectory(before.path, 'runtime', deps.identity.uid),
  );
  try {
    const lockDeps = lockDepsOf(deps, passed.helpers);
    const lock = await check('gate.lock', () => takeLock(directory, socketLockName(name), lockDeps));
    return {
      socket: { directory, name } satisfies SocketName,
      locks: { ...locks, runtime: lock },
      isNew: true,
      adopt: () => {
        locks.runtime.release();
        before.close();
      },
      abandon: () => {
        lock.release();
        directory.close();
      },
    };
  } catch (error) {
    directory.close();
    throw error;
  }
}
