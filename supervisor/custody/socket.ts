// The KMS socket's name: proven dead before it is replaced, bound under a private name, given owner and mode, renamed, and
// removed only while it is still ours (spec/supervisor 3.1, spec/supervisor 3.2, spec/supervisor 3.3).

import { chmodSync, lchownSync, lstatSync, renameSync, statSync, unlinkSync } from 'node:fs';
import { connect } from 'node:net';
import { ProviderError } from '../../shared/errors/error.ts';
import type { Clock } from '../../shared/time/clock.ts';
import { type BoundHandle, bindUnixSocket } from './bound-handle.ts';
import type { PinnedDirectory } from './pinned-directory.ts';

export type SocketName = { readonly directory: PinnedDirectory; readonly name: string };
export type SocketFinding = 'absent' | 'dead';

const probeTimeoutMs = 250;
const betweenProbesMs = 100;

/**
 * Looks at what stands at the name: nothing, or a socket that refused two connections.
 *
 * @throws ProviderError `socket_target_invalid` (no socket), `socket_live`, `socket_doubtful`; nothing was removed
 */
export async function proveSocketDead(socket: SocketName, clock: Clock): Promise<SocketFinding> {
  const path = socket.directory.at(socket.name);
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return 'absent';
  // control: socket.only-sockets
  if (!stats.isSocket()) {
    throw new ProviderError(
      'socket_target_invalid',
      'there is something at server.socketPath that is not a socket; check it with `ls -l`, then move it away yourself',
    );
  }
  const first = await probe(path, clock);
  await new Promise<void>((resolve) => clock.after(betweenProbesMs, resolve));
  const second = first === 'absent' ? first : await probe(path, clock);
  if (first === 'live' || second === 'live') {
    throw new ProviderError('socket_live', 'another process serves server.socketPath; stop it first');
  }
  if (second === 'absent') return 'absent';
  if (first === 'dead' && second === 'dead') return 'dead';
  throw new ProviderError(
    'socket_doubtful',
    'cannot tell whether a process still listens on server.socketPath; check with `ss -xlp`, then remove the socket yourself',
  );
}

type Answer = 'live' | 'dead' | 'absent' | 'doubtful';

function probe(path: string, clock: Clock): Promise<Answer> {
  return new Promise((resolve) => {
    const connection = connect(path);
    const settle = (answer: Answer) => {
      cancel();
      connection.destroy();
      resolve(answer);
    };
    const cancel = clock.after(probeTimeoutMs, () => settle('doubtful'));
    connection.once('connect', () => settle('live')); // control: socket.live
    connection.once('error', (error: NodeJS.ErrnoException) => {
      settle(error.code === 'ECONNREFUSED' ? 'dead' : error.code === 'ENOENT' ? 'absent' : 'doubtful');
    });
  });
}

export type BoundSocket = {
  readonly handle: BoundHandle;
  /** Whether the final name is still this socket. */
  readonly isOurs: () => boolean;
  /** Removes the final name if it is still this socket. */
  readonly removeName: () => void;
};

export type BindSocketOptions = {
  readonly gid: number;
  readonly mode: number;
  readonly uid: number;
  readonly randomHex: (sizeBytes: number) => string;
};

/**
 * Binds and publishes the socket; clients only ever see it finished.
 *
 * @throws ProviderError `listener_unavailable`, `directory_unsafe`; the private name is removed
 */
export function bindSocket(socket: SocketName, options: BindSocketOptions): BoundSocket {
  const { directory, name } = socket;
  sweepPrivateNames(socket, options.uid);
  directory.check();
  const privateName = `.${name}.${options.randomHex(4)}`;
  const handle = bindUnixSocket(`${directory.path}/${privateName}`);
  const privatePath = directory.at(privateName); // step: socket.private-name
  try {
    // In a setgid directory it has the group already; then no right to change it is needed.
    if (statSync(privatePath).gid !== options.gid) lchownSync(privatePath, options.uid, options.gid);
    // control: socket.mode
    chmodSync(privatePath, options.mode); // step: socket.chmod
    directory.check();
    const { dev, ino } = statSync(privatePath);
    renameSync(privatePath, directory.at(name)); // step: socket.rename
    const isOurs = () => {
      const found = lstatSync(directory.at(name), { throwIfNoEntry: false });
      return found?.dev === dev && found.ino === ino;
    };
    const removeName = () => {
      if (isOurs()) unlinkSync(directory.at(name)); // control: socket.remove-own
    };
    return { handle, isOurs, removeName };
  } catch (cause) {
    handle.close();
    unlinkQuietly(privatePath);
    if (cause instanceof ProviderError) throw cause;
    throw new ProviderError(
      'listener_unavailable',
      'the socket cannot be given to server.socketGroup; the user of the provider must be a member of that group',
      { cause },
    );
  }
}

function sweepPrivateNames({ directory, name }: SocketName, uid: number): void {
  for (const entry of directory.list()) {
    if (!entry.startsWith(`.${name}.`) || !/^[0-9a-f]{8}$/u.test(entry.slice(name.length + 2))) continue;
    const stats = lstatSync(directory.at(entry), { throwIfNoEntry: false });
    if (stats?.isSocket() && stats.uid === uid) unlinkQuietly(directory.at(entry)); // control: socket.sweep-owner
  }
}

function unlinkQuietly(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // It was not there, which is what we want.
  }
}
