// docs/cli.md is made from the command table. `npm run docs` (UPDATE_DOCS=1) writes it.

import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type ExitName, exitCodes, exitMeanings } from '../../shared/errors/exit-codes.ts';
import { parseArguments } from '../../supervisor/arguments.ts';
import { asksOpenBao, exitsOf, helpText } from '../../supervisor/commands/help-text.ts';
import {
  type CommandRow,
  commandNames,
  commands,
  flagNames,
  flags,
  flagUsage,
  gates,
  listedCommands,
  takesFlag,
  writings,
} from '../../supervisor/commands/table.ts';

const path = new URL('../../docs/cli.md', import.meta.url);
function page(): string {
  const flagList = (names: readonly (typeof flagNames)[number][]) =>
    names.map((flag) => `\`${flagUsage(flag)}\``).join(', ') || '–';
  const commandRows = listedCommands().map((name) => {
    const row: CommandRow = commands[name];
    const exits = exitsOf(row)
      .map((exit) => exitCodes[exit])
      .join(', ');
    const asks = asksOpenBao(row) ? 'yes' : 'no';
    const cells = [row.summary, flagList(row.flags), gates[row.gate], asks, writings[row.writes], exits];
    return `| \`${name}\` | ${cells.join(' | ')} |`;
  });
  const flagRows = flagNames.map((flag) => {
    const commandsOfFlag = listedCommands().filter((name) => takesFlag(name, flag));
    const taken = flags[flag].isCommon ? 'every command' : commandsOfFlag.map((name) => `\`${name}\``).join(', ');
    return `| \`${flagUsage(flag)}\` | ${flags[flag].help} | ${taken} |`;
  });
  return [
    '# Command line',
    '',
    'This page is made from `supervisor/commands/table.ts`; `bao-kms-provider help COMMAND` prints the row of a command.',
    '',
    '| Command | What it does | Flags beside the common ones | Checks before it runs | Asks OpenBao | Writes | Exit codes |',
    '|---|---|---|---|---|---|---|',
    ...commandRows,
    '',
    '| Flag | Meaning | Taken by |',
    '|---|---|---|',
    ...flagRows,
    '',
    '| Exit code | Meaning |',
    '|---|---|',
    ...(Object.keys(exitCodes) as ExitName[]).map((name) => `| ${exitCodes[name]} | ${exitMeanings[name]} |`),
    '',
  ].join('\n');
}

test('docs/cli.md lists every command and every flag as the table has them', () => {
  const wanted = page();
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(path, wanted);
  assert.is(readFileSync(path, 'utf8'), wanted, 'docs/cli.md is not what the code says; run npm run docs');
});

test('the help text has a line for every command and every common flag; that of a command one for each of its flags', () => {
  const all = helpText(undefined).split('\n');
  for (const name of commandNames) {
    assert.ok(all.includes(`  ${name.padEnd(19)}${commands[name].summary}`), name);
    const own = helpText(name).split('\n');
    for (const flag of flagNames) {
      const hasLine = (lines: readonly string[]) =>
        lines.includes(`  ${flagUsage(flag).padEnd(25)}${flags[flag].help}`);
      assert.is(hasLine(all), flags[flag].isCommon, flag);
      assert.is(hasLine(own), takesFlag(name, flag), `${name} ${flag}`);
    }
  }
});

test('a flag is refused by every command whose row does not have it', () => {
  for (const name of commandNames) {
    for (const flag of flagNames.filter((one) => !takesFlag(name, one))) {
      const words = [...name.split(' '), flags[flag].type === 'boolean' ? `--${flag}` : `--${flag}=1`];
      assert.throws(() => parseArguments(words, {}, '/'), /belongs to/u, words.join(' '));
    }
  }
});

test('a flag without its value, and one with a value that it does not take, are named', () => {
  const mistakes = [
    [['serve', '--config'], /--config needs a value/u],
    [['rotation-plan', '--output', '--development'], /--output needs a value/u],
    [['retire-versions', '--apply=yes'], /--apply takes no value/u],
  ] as const;
  for (const [words, told] of mistakes) assert.throws(() => parseArguments(words, {}, '/'), told, words.join(' '));
});

test.run();
