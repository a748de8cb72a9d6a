// docs/cli.md is made from the command table. `npm run docs` (UPDATE_DOCS=1) writes it.

import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { helpText, parseArguments } from '../../supervisor/arguments.ts';
import {
  type CommandRow,
  commandNames,
  commands,
  flagNames,
  flags,
  flagUsage,
  type gates,
  listedCommands,
  takesFlag,
} from '../../supervisor/commands/table.ts';

const path = new URL('../../docs/cli.md', import.meta.url);
const gateTexts: Readonly<Record<(typeof gates)[number], string>> = {
  serve: 'all checks of a start',
  task: 'the checks of a task',
  none: 'none',
};

function page(): string {
  const flagList = (names: readonly (typeof flagNames)[number][]) =>
    names.map((flag) => `\`${flagUsage(flag)}\``).join(', ') || '–';
  const commandRows = listedCommands().map((name) => {
    const row: CommandRow = commands[name];
    const cells = [row.summary, flagList(row.flags), gateTexts[row.gate], row.asksOpenBao ? 'yes' : 'no'];
    return `| \`${name}\` | ${cells.join(' | ')} |`;
  });
  const flagRows = flagNames.map((flag) => {
    const commandsOfFlag = listedCommands().filter((name) => takesFlag(name, flag));
    const taken = flags[flag].isCommon ? 'every command' : commandsOfFlag.map((name) => `\`${name}\``).join(', ');
    return `| \`${flagUsage(flag)}\` | ${flags[flag].help.join(' ')} | ${taken} |`;
  });
  return [
    '# Command line',
    '',
    'This page is made from `supervisor/commands/table.ts`. Exit codes: see `bao-kms-provider help`.',
    '',
    '| Command | What it does | Flags beside the common ones | Checks before it runs | Asks OpenBao |',
    '|---|---|---|---|---|',
    ...commandRows,
    '',
    '| Flag | Meaning | Taken by |',
    '|---|---|---|',
    ...flagRows,
    '',
  ].join('\n');
}

test('docs/cli.md lists every command and every flag as the table has them', () => {
  const wanted = page();
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(path, wanted);
  assert.is(readFileSync(path, 'utf8'), wanted, 'docs/cli.md is not what the code says; run npm run docs');
});

test('the help text has a line for every command and every flag', () => {
  const lines = helpText.split('\n');
  for (const name of commandNames) {
    const line = `  ${name.padEnd(19)}${commands[name].summary}`;
    assert.ok(lines.includes(line), name);
  }
  for (const flag of flagNames)
    assert.ok(
      lines.some((line) => line.startsWith(`  ${flagUsage(flag)} `)),
      flag,
    );
});

test('a flag is refused by every command whose row does not have it', () => {
  for (const name of commandNames) {
    for (const flag of flagNames.filter((one) => !takesFlag(name, one))) {
      const words = [...name.split(' '), flags[flag].type === 'boolean' ? `--${flag}` : `--${flag}=1`];
      assert.throws(() => parseArguments(words, {}), /belongs to/u, words.join(' '));
    }
  }
});

test('a flag without its value, and one with a value that it does not take, are named', () => {
  const mistakes = [
    [['serve', '--config'], /--config needs a value/u],
    [['rotation-plan', '--output', '--development'], /--output needs a value/u],
    [['retire-versions', '--apply=yes'], /--apply takes no value/u],
  ] as const;
  for (const [words, told] of mistakes) assert.throws(() => parseArguments(words, {}), told, words.join(' '));
});

test.run();
