// The end of systemd that a unit speaks to, as far as a test needs it: a datagram socket whose lines are kept. The runtime has
// no datagrams over a path, so perl, which every Debian has, holds the socket.

import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, existsSync } from 'node:fs';
import { firstExecutable, onPath } from './executable.ts';

export type NotifySocket = {
  /** Put before a command: it is then told where to speak. */
  readonly wrap: readonly string[];
  /** Every STATUS line so far. */
  readonly statusLines: () => readonly string[];
  readonly close: () => Promise<void>;
};

/** A message that carries descriptors asks for nothing but that they are closed, which the kernel does here. */
const program = [
  'use Socket; $| = 1;',
  'socket(my $s, AF_UNIX, SOCK_DGRAM, 0) or die; bind($s, pack_sockaddr_un($ARGV[0])) or die;',
  'while (defined recv($s, my $m, 65536, 0)) { print "$m\\n"; }',
].join(' ');

export function findNotifyHelper(): boolean {
  return firstExecutable(onPath('perl')) !== undefined && firstExecutable(['/usr/bin/systemd-notify']) !== undefined;
}

/** @param path  short enough for a socket; its directory can be reached by the provider */
export async function openNotifySocket(path: string): Promise<NotifySocket> {
  const child: ChildProcess = spawn('perl', ['-e', program, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    text += chunk.toString('utf8');
  });
  while (!existsSync(path)) {
    if (child.exitCode !== null) throw new Error('the notification socket could not be opened');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  chmodSync(path, 0o666);
  return {
    wrap: ['env', `NOTIFY_SOCKET=${path}`],
    statusLines: () => [...text.matchAll(/^STATUS=(.*)$/gmu)].map(([, line]) => line ?? ''),
    close: () =>
      new Promise((resolve) => {
        child.once('exit', () => resolve());
        child.kill('SIGTERM');
      }),
  };
}
