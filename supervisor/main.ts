// The supervisor process: one command, its exit code. The only file here that ends the process.

import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { errorClassOf } from '../shared/errors/error.ts';
import { policyOf } from '../shared/errors/policy.ts';
import { type Arguments, helpText, parseArguments } from './arguments.ts';
import type { Printed } from './commands/config.ts';
import * as system from './system.ts';

declare const __BUILD__: {
  readonly version: string;
  readonly commit: string;
  readonly buildDate: string;
  readonly dirty: string;
};
const build = typeof __BUILD__ === 'undefined' ? { version: '', commit: '', buildDate: '', dirty: '' } : __BUILD__;

async function run(parsed: Arguments): Promise<number> {
  const developmentDirectory = parsed.isDevelopment ? { developmentDirectory: process.cwd() } : {};
  const options = { overrides: parsed.overrides, foundBefore: parsed.problems, ...developmentDirectory };
  const { command } = parsed;
  switch (command.name) {
    case 'serve': {
      const { serve } = await import('./commands/serve.ts');
      return serve({ ...options, configPath: parsed.configPath }, serveDeps());
    }
    case 'rotation-plan':
    case 'verify-rotation':
    case 'retire-versions':
    case 'restore-versions':
    case 'forget-versions': {
      const { exitCodeOf, runRotationCommand } = await import('./commands/rotation.ts');
      const rotationOptions = { ...options, configPath: parsed.configPath, output: parsed.output };
      return runRotationCommand(command, rotationOptions, { ...serveDeps(), print }).catch((error: unknown) => {
        process.stderr.write(`bao-kms-provider: ${command.name}: ${sentenceOf(error)}\n`);
        return exitCodeOf(error);
      });
    }
    case 'config': {
      const { describeConfig } = await import('./commands/config.ts');
      return printAll(describeConfig(parsed.configPath, options));
    }
    case 'config check': {
      const { checkConfig } = await import('./commands/config.ts');
      return printAll(checkConfig(parsed.configPath, options, parsed.output));
    }
    case 'config schema': {
      const { describeSchema } = await import('./commands/config.ts');
      return print(describeSchema());
    }
    case 'version':
      return print(
        Object.entries(build)
          .map(([name, value]) => `${name}: ${value}\n`)
          .join(''),
      );
    case 'help':
      return print(helpText);
  }
}

function serveDeps() {
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
    onSignal: (signal: NodeJS.Signals, act: () => void) => void process.on(signal, act),
    build,
    nodePath: process.execPath,
    pluginBundle: `${here}/plugin.mjs`,
    environment: process.env,
    systemd: system.findSystemd(process.env),
    monotonicUs: system.monotonicUs,
  };
}

function print(text: string): number {
  process.stdout.write(text);
  return 0;
}

function printAll({ text, problems, exitCode }: Printed): number {
  process.stdout.write(text);
  process.stderr.write(problems);
  return exitCode;
}

/** Of a gate refusal the check as well; never a foreign text. */
function sentenceOf(error: unknown): string {
  const check = error instanceof Error && 'check' in error ? `${String(error.check)}: ` : '';
  const isOurs = errorClassOf(error) !== 'internal' && error instanceof Error;
  return isOurs ? `${check}${error.message}` : 'an unexpected error; please report it';
}

try {
  system.closeInherited(); // control: main.close-inherited
  process.exitCode = await run(parseArguments(process.argv.slice(2), process.env));
} catch (error) {
  process.stderr.write(`bao-kms-provider: ${sentenceOf(error)}\n`);
  process.exitCode = policyOf(error).exitCode;
}
process.exit();
