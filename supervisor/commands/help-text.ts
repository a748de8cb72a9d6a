// The help texts, made from the table of commands.

import { type ExitName, exitCodes, exitMeanings } from '../../shared/errors/exit-codes.ts';
import {
  type CommandName,
  type CommandRow,
  commands,
  type FlagName,
  flagNames,
  flags,
  flagUsage,
  gates,
  listedCommands,
  writings,
} from './table.ts';

/** @param topic  a command; undefined: all of them */
export function helpText(topic: CommandName | undefined): string {
  return topic === undefined ? programHelp() : commandHelp(topic);
}

function programHelp(): string {
  const commandLines = listedCommands().map((name) => `  ${name.padEnd(19)}${commands[name].summary}\n`);
  return `bao-kms-provider: Kubernetes KMS v2 provider for OpenBao Transit

${commandLines.join('')}
${commonFlags()}
bao-kms-provider help COMMAND shows the flags of a command, what it checks and writes, and its exit codes.
Run serve and the five commands about versions as the provider's user, the owner of the state directory.

Exit codes:
${exitLines(Object.keys(exitCodes) as ExitName[])}`;
}

function commandHelp(name: CommandName): string {
  const row: CommandRow = commands[name];
  const words = [`bao-kms-provider ${name}`, ...row.flags.map((flag) => `[${flagUsage(flag)}]`)].join(' ');
  const own = row.flags.map(flagLine).join('');
  return `${name}: ${row.summary}

  ${words}

${own}${own === '' ? '' : '\n'}${commonFlags()}
Checks before it runs: ${gates[row.gate]}.
Asks OpenBao: ${asksOpenBao(row) ? 'yes' : 'no'}.
Writes: ${writings[row.writes]}.
Exit codes:
${exitLines(exitsOf(row))}`;
}

/** Only a plugin talks to OpenBao. */
export function asksOpenBao({ task }: CommandRow): boolean {
  return task !== undefined;
}

export function exitsOf({ exits }: CommandRow): readonly ExitName[] {
  return ['success', 'unexpected', 'usage', ...exits];
}

function exitLines(names: readonly ExitName[]): string {
  return names.map((name) => `  ${exitCodes[name]}  ${exitMeanings[name]}\n`).join('');
}

function commonFlags(): string {
  return flagNames
    .filter((flag) => flags[flag].isCommon)
    .map(flagLine)
    .join('');
}

function flagLine(flag: FlagName): string {
  return `  ${flagUsage(flag).padEnd(25)}${flags[flag].help}\n`;
}
