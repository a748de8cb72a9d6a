// The command line → what to do. Unknown words and flags are errors; nothing is guessed.

import { parseArgs } from 'node:util';
import { printable } from '../shared/config/problem.ts';
import { nearestName } from '../shared/text/nearest.ts';
import type { Invocation } from './commands/command.ts';
import { outputOf, usage } from './commands/flag-values.ts';
import { type CommandName, commandNames, flagNames, flags, takesFlag } from './commands/table.ts';
import { configVariables, type Environment, environmentProblems, firstOf, overridable } from './environment.ts';

const defaultConfigPath = '/etc/openbao-kms/config.yaml';

const options = {
  ...flags,
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean' },
} as const;

/**
 * @param words  the command line behind the program's name
 * @throws ProviderError `usage_invalid`
 */
export function parseArguments(
  words: readonly string[],
  environment: Environment,
  currentDirectory: string,
): Invocation {
  const { values, positionals } = parseWords(words);
  const { name, topic } = commandOf(positionals, values.help === true, values.version === true);
  for (const flag of flagNames) {
    if (values[flag] !== undefined && !takesFlag(name, flag)) {
      throw usage(`--${flag} belongs to ${commandNames.filter((one) => takesFlag(one, flag)).join(', ')}`);
    }
  }
  const overrides = new Map<string, string>();
  for (const { path, flag, variables } of overridable) {
    const value = values[flag] ?? firstOf(environment, variables);
    if (value !== undefined) overrides.set(path, value);
  }
  const configPath = values.config ?? firstOf(environment, configVariables) ?? defaultConfigPath;
  const isDevelopment = values.development === true;
  return {
    name,
    topic,
    configPath,
    options: {
      overrides,
      // A variable that means nothing here is a problem for every command that reads the configuration.
      foundBefore: environmentProblems(environment),
      ...(isDevelopment ? { developmentDirectory: currentDirectory } : {}),
    },
    output: outputOf(values),
    flags: values,
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

type Asked = Pick<Invocation, 'name' | 'topic'>;

function commandOf(positionals: readonly string[], isHelp: boolean, isVersion: boolean): Asked {
  const [first, ...others] = positionals;
  if (isHelp) return { name: 'help', topic: positionals.length === 0 ? undefined : named(positionals) };
  if (isVersion) return { name: 'version', topic: undefined };
  if (first === undefined) return { name: 'help', topic: undefined };
  if (first === 'help' && others.length > 0) return { name: 'help', topic: named(others) };
  return { name: named(positionals), topic: undefined };
}

function named(positionals: readonly string[]): CommandName {
  const words = positionals.join(' ');
  const found = commandNames.find((name) => name === words);
  if (found !== undefined) return found;
  const near = nearestName(words, commandNames);
  throw usage(`unknown command ${printable(words)}${near === undefined ? '' : `; did you mean ${near}?`}`);
}
