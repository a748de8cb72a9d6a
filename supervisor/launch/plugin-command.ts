// The command that starts a confined plugin: limits and privileges fall first, then the runtime starts (spec/supervisor 1.1).
// Without every one of these flags a child keeps capabilities silently.

import type { Privilege } from '../../shared/confinement/confinement.ts';

export type PluginHelpers = { readonly prlimit: string; readonly setpriv: string };

/** @param target  the program to run confined, with its arguments */
export function pluginCommand(
  helpers: PluginHelpers,
  privilege: Privilege,
  target: readonly string[],
): [string, ...string[]] {
  const common = ['--no-new-privs', '--inh-caps=-all', '--ambient-caps=-all'];
  const drop =
    privilege.kind === 'separate' // control: plugin-command.drop
      ? [
          `--reuid=${privilege.uid}`,
          `--regid=${privilege.gid}`,
          '--clear-groups',
          ...common,
          '--bounding-set=-all',
          '--pdeathsig=KILL',
        ]
      : [...common, '--pdeathsig=KILL'];
  return [helpers.prlimit, '--core=0:0', helpers.setpriv, ...drop, ...target]; // control: plugin-command.core
}

/** Flags of the runtime: the permission model, no inspector by signal, a small heap. */
export function nodeFlags(bundle: string, nodeMajor: number): readonly string[] {
  return [
    '--permission', // control: plugin-command.permission
    `--allow-fs-read=${bundle}`, // control: plugin-command.read-bundle
    '--allow-fs-read=/proc/self/status', // control: plugin-command.read-status
    ...(nodeMajor >= 25 ? ['--allow-net'] : []),
    '--disable-sigusr1',
    '--max-semi-space-size=4',
    '--max-old-space-size=64',
  ];
}
