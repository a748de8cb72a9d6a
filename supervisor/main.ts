// The supervisor process: one command, its exit code. The only file here that ends the process.

import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { errorClassOf } from '../shared/errors/error.ts';
import { policyOf } from '../shared/errors/policy.ts';
import { type Arguments, helpText, parseArguments } from './arguments.ts';
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
  const options = { overrides: parsed.overrides, ...developmentDirectory };
  switch (parsed.command) {
    case 'serve': {
      const { serve } = await import('./commands/serve.ts');
      return serve({ ...options, configPath: parsed.configPath }, serveDeps());
    }
    case 'config': {
      const { describeConfig } = await import('./commands/config.ts');
      return print(describeConfig(parsed.configPath, options, system.processIdentity()));
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

try {
  process.exitCode = await run(parseArguments(process.argv.slice(2), process.env));
} catch (error) {
  const isOurs = errorClassOf(error) !== 'internal' && error instanceof Error;
  process.stderr.write(`bao-kms-provider: ${isOurs ? error.message : 'an unexpected error; please report it'}\n`);
  process.exitCode = policyOf(error).exitCode;
}
process.exit();
