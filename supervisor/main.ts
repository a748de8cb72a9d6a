// The supervisor process: one command, its exit code. The only file here that ends the process.

import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { errorClassOf } from '../shared/errors/error.ts';
import { parseArguments } from './arguments.ts';
import type { Command, CommandDeps } from './commands/command.ts';
import { helpText } from './commands/help-text.ts';
import { commands } from './commands/table.ts';
import { exitCodeOf } from './exit-code.ts';
import * as system from './system.ts';

declare const __BUILD__: {
  readonly version: string;
  readonly commit: string;
  readonly buildDate: string;
  readonly dirty: string;
};
const build = typeof __BUILD__ === 'undefined' ? { version: '', commit: '', buildDate: '', dirty: '' } : __BUILD__;

async function run(words: readonly string[]): Promise<number> {
  const invocation = parseArguments(words, process.env, process.cwd());
  const { name } = invocation;
  const { gate, load } = commands[name];
  try {
    const command: Command = await load();
    return await command.run(invocation, commandDeps());
  } catch (error) {
    // A command about versions says which one it was: a script may run several.
    tell(error, gate === 'task' && errorClassOf(error) !== 'usage_invalid' ? `${name}: ` : '');
    return exitCodeOf(error, gate);
  }
}

function commandDeps(): CommandDeps {
  const here = dirname(fileURLToPath(import.meta.url));
  return {
    clock: system.clock,
    random: system.random,
    randomHex: system.randomHex,
    writeLine: system.writeLine,
    identity: system.processIdentity(),
    findHelper: system.findHelper,
    runHelper: system.runHelper,
    pid: process.pid,
    words: process.argv.slice(2),
    onSignal: (signal, act) => void process.on(signal, act),
    build,
    nodePath: process.execPath,
    pluginBundle: `${here}/plugin.mjs`,
    environment: process.env,
    systemd: system.findSystemd(process.env),
    monotonicUs: system.monotonicUs,
    print: (text) => void process.stdout.write(text),
    printError: (text) => void process.stderr.write(text),
    help: helpText,
  };
}

function tell(error: unknown, lead = ''): void {
  process.stderr.write(`bao-kms-provider: ${lead}${sentenceOf(error)}\n`);
}

/** Of a gate refusal the check as well; never a foreign text. */
function sentenceOf(error: unknown): string {
  const check = error instanceof Error && 'check' in error ? `${String(error.check)}: ` : '';
  const isOurs = errorClassOf(error) !== 'internal' && error instanceof Error;
  return isOurs ? `${check}${error.message}` : 'an unexpected error; please report it';
}

try {
  system.closeInherited(); // control: main.close-inherited
  process.exitCode = await run(process.argv.slice(2));
} catch (error) {
  tell(error);
  process.exitCode = exitCodeOf(error, 'none');
}
process.exit();
