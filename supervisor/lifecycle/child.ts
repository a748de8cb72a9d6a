// One plugin process: started confined, with fixed descriptors and a named environment; its end is one event, whatever the
// cause. Never spawn's uid and gid: they leave capabilities behind.

import type { Duplex } from 'node:stream';
import { execa } from 'execa';

export type ChildOptions = {
  /** Command with arguments, from pluginCommand. */
  readonly command: readonly [string, ...string[]];
  /** Bound descriptors in the order KMS, metrics, health; undefined: /dev/null. */
  readonly descriptors: readonly (number | undefined)[];
  readonly environment: Readonly<Record<string, string>>;
};

export type ChildEnd = {
  readonly reason: 'exit' | 'signal';
  readonly exitCode: number | undefined;
  readonly signal: string | undefined;
};
export type Child = {
  readonly pid: number | undefined;
  readonly channel: Duplex;
  readonly kill: () => void;
  readonly ended: Promise<ChildEnd>;
};

/** Starts the plugin. Never throws: a child that cannot start has ended. */
export function startChild(options: ChildOptions): Child {
  const [command, ...args] = options.command;
  const inherited = options.descriptors.map((descriptor) => descriptor ?? 'ignore');
  const stdio = ['ignore', 'ignore', 2, 'pipe', ...inherited];
  const child = execa(command, args, {
    stdio: stdio as ['ignore', 'ignore', 'inherit', 'pipe'],
    env: options.environment,
    extendEnv: false,
    buffer: false,
    reject: false,
    cleanup: false,
    cwd: '/',
  });
  // execa types an extra descriptor as one-way; at run time it is the socket pair that Node made.
  const channel = child.stdio[3] as unknown as Duplex;
  // The error of a failed child holds what it wrote; only its numbers are taken.
  const ended = child.then(
    ({ exitCode, signal }): ChildEnd => ({ reason: signal === undefined ? 'exit' : 'signal', exitCode, signal }),
    (): ChildEnd => ({ reason: 'exit', exitCode: undefined, signal: undefined }),
  );
  return { pid: child.pid, channel, kill: () => void child.kill('SIGKILL'), ended };
}

/** What the plugin inherits of our environment: time zone and locale, nothing else. */
export function pluginEnvironment(ours: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const named = ['TZ', 'LANG', 'LC_ALL'].map((name) => [name, ours[name]] as const);
  return Object.fromEntries(
    named.filter((entry): entry is readonly [string, string] => /^[\w.:/@+-]{1,64}$/u.test(entry[1] ?? '')),
  );
}
