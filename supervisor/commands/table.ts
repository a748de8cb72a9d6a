// Every command and every flag, one row each. Parsing, the help texts and docs/cli.md are derived from these rows; what a command
// does stands in the file that its row loads.

import type { TaskName } from '../../shared/channel/tasks.ts';
import type { OverrideFlag } from '../../shared/config/fields.ts';
import type { ExitName } from '../../shared/errors/exit-codes.ts';
import type { Command } from './command.ts';

export type FlagRow = {
  readonly type: 'string' | 'boolean';
  /** What the value is called; empty for a flag without a value. */
  readonly value: string;
  readonly help: string;
  /** Accepted by every command, also by one that does not read it. */
  readonly isCommon: boolean;
};

/** What overrides a field of the configuration has a value, and does so for every command. */
type OverrideFlagRow = FlagRow & { readonly type: 'string'; readonly isCommon: true };

export const flags = {
  config: {
    type: 'string',
    value: 'PATH',
    help: 'configuration file (default /etc/openbao-kms/config.yaml)',
    isCommon: true,
  },
  'log-level': { type: 'string', value: 'LEVEL', help: 'debug, info, warn or error', isCommon: true },
  'metrics-address': {
    type: 'string',
    value: 'ADDR',
    help: 'host:port; an empty value switches it off',
    isCommon: true,
  },
  'health-address': {
    type: 'string',
    value: 'ADDR',
    help: 'host:port; an empty value switches it off',
    isCommon: true,
  },
  development: {
    type: 'boolean',
    value: '',
    help: 'accept a socket below the current directory; never in a cluster',
    isCommon: false,
  },
  output: { type: 'string', value: 'FORMAT', help: 'text or json', isCommon: false },
  'before-version': { type: 'string', value: 'N', help: 'retire the versions below N', isCommon: false },
  versions: {
    type: 'string',
    value: 'LIST',
    help: 'the versions, separated by commas; restore-versions also takes key-ID hashes',
    isCommon: false,
  },
  apply: { type: 'boolean', value: '', help: 'do it; stop the provider first', isCommon: false },
  'expected-state-hash': {
    type: 'string',
    value: 'H',
    help: 'with --apply: the stateHash of the plan that you reviewed',
    isCommon: false,
  },
} as const satisfies Readonly<Record<string, FlagRow>> & Readonly<Record<OverrideFlag, OverrideFlagRow>>;

export type FlagName = keyof typeof flags;

/** The checks that a command passes first, in the order in which the help text lists the commands. */
export const gates = {
  serve: 'all checks of a start',
  task: 'the checks of a task',
  none: 'none',
} as const;

/** What a command changes on this host. */
export const writings = {
  service: 'the socket, the registry state and its checkpoint',
  registry: 'with --apply only: the registry state and its checkpoint',
  nothing: 'nothing',
} as const;

export type CommandRow = {
  readonly summary: string;
  /** Beside the common ones. */
  readonly flags: readonly FlagName[];
  readonly gate: keyof typeof gates;
  /** What the plugin is started for; without one there is no plugin, and nobody asks OpenBao. */
  readonly task: TaskName | undefined;
  readonly writes: keyof typeof writings;
  /** Beside success, an unexpected error and usage. */
  readonly exits: readonly ExitName[];
  readonly load: () => Promise<Command>;
};

const change = ['development', 'output', 'apply', 'expected-state-hash'] as const;
const reading = { gate: 'task', task: 'read_key', writes: 'nothing', exits: ['configuration', 'checkFailed'] } as const;
const changing = { ...reading, writes: 'registry' } as const;
const local = { gate: 'none', task: undefined, writes: 'nothing' } as const;

export const commands = {
  serve: {
    summary: 'runs the provider',
    flags: ['development'],
    gate: 'serve',
    task: 'serve',
    writes: 'service',
    exits: ['configuration', 'runtime', 'directoryLost'],
    load: () => import('./serve.ts'),
  },
  config: {
    summary: 'prints the main settings in force, the identity fingerprint, and every problem',
    flags: ['development'],
    ...local,
    exits: ['configuration'],
    load: () => import('./config.ts'),
  },
  'config check': {
    summary: 'validates a configuration completely; starts nothing and changes nothing',
    flags: ['development', 'output'],
    ...local,
    exits: ['configuration'],
    load: () => import('./config-check.ts'),
  },
  'config schema': {
    summary: 'prints the JSON Schema of the configuration',
    flags: [],
    ...local,
    exits: [],
    load: () => import('./config-schema.ts'),
  },
  version: { summary: 'prints the build', flags: [], ...local, exits: [], load: () => import('./version.ts') },
  help: {
    summary: 'prints this text or, with the name of a command, what that command takes',
    flags: [],
    ...local,
    exits: [],
    load: () => import('./help.ts'),
  },
  'rotation-plan': {
    summary: 'shows what this node knows about its key versions, what OpenBao says, and what comes next',
    flags: ['development', 'output'],
    ...reading,
    load: () => import('./rotation-plan.ts'),
  },
  'verify-rotation': {
    summary: 'shows the same after a rotation, and says what it cannot prove',
    flags: ['development', 'output'],
    ...reading,
    load: () => import('./verify-rotation.ts'),
  },
  'retire-versions': {
    summary: 'plans that versions below N stop decrypting on this node; with --apply, does it',
    flags: [...change, 'before-version'],
    ...changing,
    load: () => import('./retire-versions.ts'),
  },
  'restore-versions': {
    summary: 'plans to let retired versions decrypt again; with --apply, does it',
    flags: [...change, 'versions'],
    ...changing,
    load: () => import('./restore-versions.ts'),
  },
  'forget-versions': {
    summary: 'plans to drop versions that OpenBao never had from the registry; with --apply, does it',
    flags: [...change, 'versions'],
    ...changing,
    load: () => import('./forget-versions.ts'),
  },
} as const satisfies Record<string, CommandRow>;

export type CommandName = keyof typeof commands;

export const commandNames = Object.keys(commands) as readonly CommandName[];
export const flagNames = Object.keys(flags) as readonly FlagName[];

export function takesFlag(name: CommandName, flag: FlagName): boolean {
  const row: CommandRow = commands[name];
  return flags[flag].isCommon || row.flags.includes(flag);
}

export function listedCommands(): readonly CommandName[] {
  return Object.keys(gates).flatMap((gate) => commandNames.filter((name) => commands[name].gate === gate));
}

/** As it is typed: `--config PATH`. */
export function flagUsage(flag: FlagName): string {
  return `--${flag} ${flags[flag].value}`.trimEnd();
}
