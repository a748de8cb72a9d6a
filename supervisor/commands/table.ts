// Every command and every flag, one row each. Parsing, the help text and docs/cli.md are derived from these rows.

import type { OverrideFlag } from '../../shared/config/fields.ts';

export type FlagRow = {
  readonly type: 'string' | 'boolean';
  /** What the value is called; empty for a flag without a value. */
  readonly value: string;
  /** One line of the help text each. */
  readonly help: readonly string[];
  /** Accepted by every command, also by one that does not read it. */
  readonly isCommon: boolean;
};

/** What overrides a field of the configuration has a value, and does so for every command. */
type OverrideFlagRow = FlagRow & { readonly type: 'string'; readonly isCommon: true };

export const flags = {
  config: {
    type: 'string',
    value: 'PATH',
    help: ['configuration file (default /etc/openbao-kms/config.yaml)'],
    isCommon: true,
  },
  'log-level': { type: 'string', value: 'LEVEL', help: ['debug, info, warn or error'], isCommon: true },
  'metrics-address': {
    type: 'string',
    value: 'ADDR',
    help: ['host:port; an empty value switches it off'],
    isCommon: true,
  },
  'health-address': {
    type: 'string',
    value: 'ADDR',
    help: ['host:port; an empty value switches it off'],
    isCommon: true,
  },
  development: {
    type: 'boolean',
    value: '',
    help: ['accept a socket below the current directory; never in a cluster'],
    isCommon: false,
  },
  output: {
    type: 'string',
    value: 'FORMAT',
    help: ['text or json; for config check and the five commands about versions'],
    isCommon: false,
  },
  'before-version': {
    type: 'string',
    value: 'N',
    help: ['retire-versions: retire the versions below N'],
    isCommon: false,
  },
  versions: {
    type: 'string',
    value: 'LIST',
    help: [
      'restore-versions: the versions, or their key-ID hashes, separated by commas;',
      'forget-versions: the versions',
    ],
    isCommon: false,
  },
  apply: {
    type: 'boolean',
    value: '',
    help: ['retire-versions, restore-versions, forget-versions: do it; stop the provider first'],
    isCommon: false,
  },
  'expected-state-hash': {
    type: 'string',
    value: 'H',
    help: ['with --apply: the stateHash of the plan that you reviewed'],
    isCommon: false,
  },
} as const satisfies Readonly<Record<string, FlagRow>> & Readonly<Record<OverrideFlag, OverrideFlagRow>>;

export type FlagName = keyof typeof flags;

/** In the order in which the help text lists the commands. */
export const gates = ['serve', 'task', 'none'] as const;

export type CommandRow = {
  readonly summary: string;
  /** Beside the common ones. */
  readonly flags: readonly FlagName[];
  /** The checks that the command passes first: those of `serve`, those of a task, or none. */
  readonly gate: (typeof gates)[number];
  readonly asksOpenBao: boolean;
};

const change = ['development', 'output', 'apply', 'expected-state-hash'] as const;
const task = { gate: 'task', asksOpenBao: true } as const;
const local = { gate: 'none', asksOpenBao: false } as const;

export const commands = {
  serve: { summary: 'runs the provider', flags: ['development'], gate: 'serve', asksOpenBao: true },
  config: {
    summary: 'prints the main settings in force, the identity fingerprint, and every problem',
    flags: ['development'],
    ...local,
  },
  'config check': {
    summary: 'validates a configuration completely; starts nothing and changes nothing',
    flags: ['development', 'output'],
    ...local,
  },
  'config schema': { summary: 'prints the JSON Schema of the configuration', flags: [], ...local },
  version: { summary: 'prints the build', flags: [], ...local },
  help: { summary: 'prints this', flags: [], ...local },
  'rotation-plan': {
    summary: 'shows what this node knows about its key versions, what OpenBao says, and what comes next',
    flags: ['development', 'output'],
    ...task,
  },
  'verify-rotation': {
    summary: 'shows the same after a rotation, and says what it cannot prove',
    flags: ['development', 'output'],
    ...task,
  },
  'retire-versions': {
    summary: 'plans that versions below N stop decrypting on this node; with --apply, does it',
    flags: [...change, 'before-version'],
    ...task,
  },
  'restore-versions': {
    summary: 'plans that retired versions decrypt again; with --apply, does it',
    flags: [...change, 'versions'],
    ...task,
  },
  'forget-versions': {
    summary: 'plans that versions which OpenBao never had are dropped from the registry; with --apply, does it',
    flags: [...change, 'versions'],
    ...task,
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
  return gates.flatMap((gate) => commandNames.filter((name) => commands[name].gate === gate));
}

/** As it is typed: `--config PATH`. */
export function flagUsage(flag: FlagName): string {
  return `--${flag} ${flags[flag].value}`.trimEnd();
}
