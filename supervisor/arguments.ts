// The command line → what to do. Unknown words and flags are errors; nothing is guessed.

import { parseArgs } from 'node:util';
import { type Problem, printable } from '../shared/config/problem.ts';
import { ProviderError } from '../shared/errors/error.ts';
import { isStateHash } from '../shared/registry/state.ts';
import { nearestName } from '../shared/text/nearest.ts';
import type { OutputFormat } from './commands/report.ts';
import type { RotationCommand } from './commands/rotation.ts';
import { configVariables, type Environment, environmentProblems, firstOf, overridable } from './environment.ts';

export type Command =
  | { readonly name: 'serve' | 'config' | 'config check' | 'config schema' | 'version' | 'help' }
  | RotationCommand;

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

  serve              runs the provider
  rotation-plan      shows what this node knows about its key versions, what OpenBao says, and what comes next
  verify-rotation    shows the same after a rotation, and says what it cannot prove
  retire-versions    plans that versions below N stop decrypting on this node; with --apply, does it
  restore-versions   plans that retired versions decrypt again; with --apply, does it
  forget-versions    plans that versions which OpenBao never had are dropped from the registry; with --apply, does it
  config             prints the main settings in force, the identity fingerprint, and every problem
  config check       validates a configuration completely; starts nothing and changes nothing
  config schema      prints the JSON Schema of the configuration
  version            prints the build
  help               prints this

  --config PATH            configuration file (default /etc/openbao-kms/config.yaml)
  --log-level LEVEL        debug, info, warn or error
  --metrics-address ADDR   host:port; an empty value switches it off
  --health-address ADDR    host:port; an empty value switches it off
  --development            accept a socket below the current directory; never in a cluster
  --output FORMAT          text or json; for config check and the five commands about versions
  --before-version N       retire-versions: retire the versions below N
  --versions LIST          restore-versions: the versions, or their key-ID hashes, separated by commas;
                           forget-versions: the versions
  --apply                  retire-versions, restore-versions, forget-versions: do it; stop the provider first
  --expected-state-hash H  with --apply: the stateHash of the plan that you reviewed

Run serve and the five commands about versions as the provider's user, the owner of the state directory.

Exit codes: 0 success, 1 unexpected error, 2 usage, 3 configuration or credentials, 4 a check failed,
            5 runtime, 6 a directory was lost that only a new start can find (serve under a service manager).
`;

const defaultConfigPath = '/etc/openbao-kms/config.yaml';

const options = {
  config: { type: 'string' },
  'log-level': { type: 'string' },
  'metrics-address': { type: 'string' },
  'health-address': { type: 'string' },
  development: { type: 'boolean' },
  output: { type: 'string' },
  'before-version': { type: 'string' },
  versions: { type: 'string' },
  apply: { type: 'boolean' },
  'expected-state-hash': { type: 'string' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean' },
} as const;

/**
 * @param words  the command line behind the program's name
 * @throws ProviderError `usage_invalid`
 */
export function parseArguments(words: readonly string[], environment: Environment): Arguments {
  const { values, positionals } = parseWords(words);
  const name = nameOf(positionals, values.help === true, values.version === true);
  for (const [flag, owners] of Object.entries(flagOwners)) {
    if (values[flag as keyof Values] !== undefined && !owners.includes(name)) {
      throw usage(`--${flag} belongs to ${owners.join(', ')}`);
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
  if (unknown === undefined) return 'a flag lacks its value, or has one that it does not take';
  const near = nearestName(unknown, known);
  return `unknown flag ${printable(unknown)}${near === undefined ? '' : `; did you mean ${near}?`}`;
}

type Values = ReturnType<typeof parseWords>['values'];

const changing = ['retire-versions', 'restore-versions', 'forget-versions'] as const;
const aboutRotation = ['rotation-plan', 'verify-rotation', ...changing] as const;
const flagOwners: Readonly<Record<string, readonly string[]>> = {
  development: ['serve', 'config', 'config check', ...aboutRotation],
  output: ['config check', ...aboutRotation],
  'before-version': ['retire-versions'],
  versions: ['restore-versions', 'forget-versions'],
  apply: changing,
  'expected-state-hash': changing,
};
const names = ['serve', 'config', 'config check', 'config schema', 'version', 'help', ...aboutRotation] as const;

function nameOf(positionals: readonly string[], isHelp: boolean, isVersion: boolean): (typeof names)[number] {
  if (isHelp || (positionals.length === 0 && !isVersion)) return 'help';
  if (isVersion) return 'version';
  const found = names.find((name) => name === positionals.join(' '));
  if (found === undefined) {
    const words = positionals.join(' ');
    const near = nearestName(words, names);
    throw usage(`unknown command ${printable(words)}${near === undefined ? '' : `; did you mean ${near}?`}`);
  }
  return found;
}

function commandOf(name: (typeof names)[number], values: Values): Command {
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
