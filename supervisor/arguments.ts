// The command line → what to do. Unknown words and flags are errors; nothing is guessed.

import { parseArgs } from 'node:util';
import { type Problem, printable } from '../shared/config/problem.ts';
import { ProviderError } from '../shared/errors/error.ts';
import { isStateHash } from '../shared/registry/state.ts';
import { nearestName } from '../shared/text/nearest.ts';
import type { OutputFormat } from './commands/report.ts';
import type { RotationCommand } from './commands/rotation.ts';
import {
  type CommandName,
  commandNames,
  commands,
  type FlagName,
  flagNames,
  flags,
  flagUsage,
  listedCommands,
  takesFlag,
} from './commands/table.ts';
import { configVariables, type Environment, environmentProblems, firstOf, overridable } from './environment.ts';

export type Command = { readonly name: Exclude<CommandName, RotationCommand['name']> } | RotationCommand;

export type Arguments = {
  readonly command: Command;
  readonly configPath: string;
  readonly overrides: ReadonlyMap<string, string>;
  /** Variables that mean nothing here: problems for every command that reads the configuration. */
  readonly problems: readonly Problem[];
  readonly isDevelopment: boolean;
  readonly output: OutputFormat;
};

export const helpText = `bao-kms-provider: Kubernetes KMS v2 provider for OpenBao Transit

${listedCommands()
  .map((name) => `  ${name.padEnd(19)}${commands[name].summary}\n`)
  .join('')}
${flagNames.map(helpOfFlag).join('')}
Run serve and the five commands about versions as the provider's user, the owner of the state directory.

Exit codes: 0 success, 1 unexpected error, 2 usage, 3 configuration or credentials, 4 a check failed,
            5 runtime, 6 a directory was removed or replaced, and only a new start can use the new one (serve under
            a service manager).
`;

const defaultConfigPath = '/etc/openbao-kms/config.yaml';

const options = {
  ...flags,
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean' },
} as const;

function helpOfFlag(flag: FlagName): string {
  const lines = flags[flag].help.map((line, at) => `  ${(at === 0 ? flagUsage(flag) : '').padEnd(25)}${line}\n`);
  return lines.join('');
}

/**
 * @param words  the command line behind the program's name
 * @throws ProviderError `usage_invalid`
 */
export function parseArguments(words: readonly string[], environment: Environment): Arguments {
  const { values, positionals } = parseWords(words);
  const name = nameOf(positionals, values.help === true, values.version === true);
  for (const flag of flagNames) {
    if (values[flag] !== undefined && !takesFlag(name, flag)) {
      throw usage(`--${flag} belongs to ${commandNames.filter((one) => takesFlag(one, flag)).join(', ')}`);
    }
  }
  const command = commandOf(name, values);
  const overrides = new Map<string, string>();
  for (const [field, flag, variables] of overridable) {
    const value = values[flag] ?? firstOf(environment, variables);
    if (value !== undefined) overrides.set(field, value);
  }
  const configPath = values.config ?? firstOf(environment, configVariables) ?? defaultConfigPath;
  return {
    command,
    configPath,
    overrides,
    problems: environmentProblems(environment),
    isDevelopment: values.development === true,
    output: outputOf(values.output),
  };
}

function parseWords(words: readonly string[]) {
  try {
    return parseArgs({ args: [...words], options, allowPositionals: true, strict: true });
  } catch {
    throw usage(mistakeIn(words));
  }
}

function mistakeIn(words: readonly string[]): string {
  const known = Object.keys(options).map((name) => `--${name}`);
  const flags = words.filter((word) => word.startsWith('-')).map((word) => word.replace(/=.*$/su, ''));
  const unknown = flags.find((flag) => flag !== '-h' && !known.includes(flag));
  if (unknown === undefined) return valueMistakeIn(words);
  const near = nearestName(unknown, known);
  return `unknown flag ${printable(unknown)}${near === undefined ? '' : `; did you mean ${near}?`}`;
}

function valueMistakeIn(words: readonly string[]): string {
  for (const [at, word] of words.entries()) {
    const [name = ''] = word.split('=');
    const [, option] = Object.entries(options).find(([one]) => `--${one}` === name) ?? [];
    const hasValue = word.includes('=');
    if (option?.type === 'boolean' && hasValue) return `${name} takes no value`;
    const next = words[at + 1];
    if (option?.type === 'string' && !hasValue && (next ?? '-').startsWith('-')) return `${name} needs a value`;
  }
  return 'a flag lacks its value, or has one that it does not take';
}

type Values = ReturnType<typeof parseWords>['values'];

function nameOf(positionals: readonly string[], isHelp: boolean, isVersion: boolean): CommandName {
  if (isHelp || (positionals.length === 0 && !isVersion)) return 'help';
  if (isVersion) return 'version';
  const found = commandNames.find((name) => name === positionals.join(' '));
  if (found === undefined) {
    const words = positionals.join(' ');
    const near = nearestName(words, commandNames);
    throw usage(`unknown command ${printable(words)}${near === undefined ? '' : `; did you mean ${near}?`}`);
  }
  return found;
}

function commandOf(name: CommandName, values: Values): Command {
  if (name === 'retire-versions') {
    return { name, beforeVersion: versionOf(values['before-version']), apply: applyOf(values) };
  }
  if (name === 'restore-versions') return { name, versions: versionsOf(values.versions), apply: applyOf(values) };
  if (name === 'forget-versions') return { name, versions: plainVersionsOf(values.versions), apply: applyOf(values) };
  return { name };
}

function applyOf(values: Values): { readonly expectedStateHash: string } | undefined {
  const expectedStateHash = values['expected-state-hash'];
  if (values.apply !== true) {
    if (expectedStateHash !== undefined) throw usage('--expected-state-hash goes with --apply');
    return undefined;
  }
  if (expectedStateHash === undefined || !isStateHash(expectedStateHash)) {
    throw usage('--apply needs --expected-state-hash with the stateHash of the reviewed plan');
  }
  return { expectedStateHash };
}

function versionOf(text: string | undefined): number {
  if (text !== undefined && /^[1-9][0-9]{0,9}$/u.test(text) && Number(text) > 1) return Number(text);
  throw usage('--before-version needs a version above 1');
}

function versionsOf(text: string | undefined): readonly string[] {
  const versions = (text ?? '').split(',').map((one) => one.trim());
  if (versions.every((one) => /^(?:[1-9][0-9]{0,9}|[A-Za-z0-9_-]{43})$/u.test(one))) return versions;
  throw usage('--versions needs versions or key-ID hashes, separated by commas');
}

function plainVersionsOf(text: string | undefined): readonly number[] {
  const versions = (text ?? '').split(',').map((one) => one.trim());
  if (versions.every((one) => /^[1-9][0-9]{0,9}$/u.test(one))) return versions.map(Number);
  throw usage('--versions needs versions, separated by commas');
}

function outputOf(text: string | undefined): OutputFormat {
  const format = (text ?? 'text').trim().toLowerCase();
  if (format === 'text' || format === 'json') return format;
  throw usage('--output is text or json');
}

function usage(message: string): ProviderError {
  return new ProviderError(
    'usage_invalid',
    `${message}${message.endsWith('?') ? ' See' : '; see'} bao-kms-provider help`,
  );
}
