// One plugin process: started confined, with fixed descriptors and a named environment; its end is one event, whatever the
// cause. Never spawn's uid and gid: they leave capabilities behind.

import type { Duplex, Readable } from 'node:stream';
import { execa } from 'execa';
import type { Clock } from '../../shared/time/clock.ts';

export type ChildOptions = {
  /** Command with arguments, from pluginCommand. */
  readonly command: readonly [string, ...string[]];
  /** Bound descriptors in the order KMS, metrics, health; undefined: /dev/null. */
  readonly descriptors: readonly (number | undefined)[];
  readonly environment: Readonly<Record<string, string>>;
  readonly clock: Pick<Clock, 'after'>;
};

/** A process that left the group may hold the pipes open; the plugin's last words are there by then. */
const lastWordsMs = 500;

export type ChildEnd = {
  readonly reason: 'exit' | 'signal';
  readonly exitCode: number | undefined;
  readonly signal: string | undefined;
};
export type Child = {
  readonly pid: number | undefined;
  readonly channel: Duplex;
  /** Ends it and every process of its group. */
  readonly kill: () => void;
  readonly ended: Promise<ChildEnd>;
};

/** `output`: its standard error, which somebody has to read. */
export type StartedChild = Child & { readonly output: Readable };

/** Starts the plugin. Never throws: a child that cannot start has ended. */
export function startChild(options: ChildOptions): StartedChild {
  const [command, ...args] = options.command;
  const inherited = options.descriptors.map((descriptor) => descriptor ?? 'ignore');
  const stdio = ['ignore', 'ignore', 'pipe', 'pipe', ...inherited];
  const child = execa(command, args, {
    stdio: stdio as ['ignore', 'ignore', 'pipe', 'pipe'],
    // A group of its own: whatever it starts ends with it.
    detached: true,
    env: options.environment, // control: child.environment
    extendEnv: false,
    buffer: false,
    reject: false,
    cleanup: false,
    cwd: '/',
  });
  // execa types an extra descriptor as one-way; at run time it is the socket pair that Node made.
  const channel = child.stdio[3] as unknown as Duplex;
  const { pid, stderr: output, nodeChildProcess } = child;
  const kill = () => {
    killGroup(pid);
    nodeChildProcess.kill('SIGKILL');
  };
  const ended = new Promise<ChildEnd>((resolve) => {
    nodeChildProcess.once('exit', (code, signal) => {
      killGroup(pid);
      const settle = () => {
        cancel();
        output.destroy();
        channel.destroy();
        const reason = signal === null ? 'exit' : 'signal';
        resolve({ reason, exitCode: code ?? undefined, signal: signal ?? undefined });
      };
      const cancel = options.clock.after(lastWordsMs, settle); // control: child.last-words
      nodeChildProcess.once('close', settle);
    });
    // One that could not be started has no exit. The error of a failed child holds what it wrote; nothing of it is taken.
    const notStarted = () => {
      if (pid === undefined) resolve({ reason: 'exit', exitCode: undefined, signal: undefined });
    };
    child.then(notStarted, notStarted);
  });
  return { pid, channel, output, kill, ended };
}

/** While a process of the group lives its number belongs to nobody else; when none does there is nobody to end. */
function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL'); // control: child.kill-group
  } catch {
    // Nobody is left.
  }
}

/** What the plugin inherits of our environment: time zone and locale, nothing else. */
export function pluginEnvironment(ours: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const named = ['TZ', 'LANG', 'LC_ALL'].map((name) => [name, ours[name]] as const);
  return Object.fromEntries(
    named.filter((entry): entry is readonly [string, string] => /^[\w.:/@+-]{1,64}$/u.test(entry[1] ?? '')),
  );
}
