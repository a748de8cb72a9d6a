// The command line → what to do. Unknown words and flags are errors; nothing is guessed.

import { parseArgs } from 'node:util';
import { ProviderError } from '../shared/errors/error.ts';

export type Command = 'serve' | 'config' | 'config schema' | 'version' | 'help';

export type Arguments = {
  readonly command: Command;
  readonly configPath: string;
  readonly overrides: ReadonlyMap<string, string>;
  readonly isDevelopment: boolean;
};

export const helpText = `bao-kms-provider: Kubernetes KMS v2 provider for OpenBao Transit

  serve            runs the provider
  config           prints what a configuration file comes to
  config schema    prints the JSON Schema of the configuration
  version          prints the build
  help             prints this

  --config PATH            configuration file (default /etc/openbao-kms/config.yaml)
  --log-level LEVEL        debug, info, warn or error
  --metrics-address ADDR   host:port, empty switches it off
  --health-address ADDR    host:port, empty switches it off
  --development            serve: accept a socket directory below the current one

Exit codes: 0 success, 1 unclassified, 2 usage, 3 configuration, 4 a check failed, 5 runtime.
`;

const defaultConfigPath = '/etc/openbao-kms/config.yaml';

const overridable = [
  ['logging.level', 'log-level', ['BAO_KMS_PROVIDER_LOG_LEVEL', 'BAO_KMS_PROVIDER_LOGGING_LEVEL']],
  [
    'server.metricsAddress',
    'metrics-address',
    ['BAO_KMS_PROVIDER_SERVER_METRICS_ADDRESS', 'BAO_KMS_PROVIDER_SERVER_METRICSADDRESS'],
  ],
  [
    'server.healthAddress',
    'health-address',
    ['BAO_KMS_PROVIDER_SERVER_HEALTH_ADDRESS', 'BAO_KMS_PROVIDER_SERVER_HEALTHADDRESS'],
  ],
] as const;

const commands: readonly string[] = ['serve', 'config', 'config schema', 'version', 'help'];
const options = {
  config: { type: 'string' },
  'log-level': { type: 'string' },
  'metrics-address': { type: 'string' },
  'health-address': { type: 'string' },
  development: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean' },
} as const;

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * @param words  the command line behind the program's name
 * @throws ProviderError `usage_invalid`
 */
export function parseArguments(words: readonly string[], environment: Environment): Arguments {
  const { values, positionals } = parseWords(words);
  const command = commandOf(positionals, values.help === true, values.version === true);
  if (values.development === true && command !== 'serve') throw usage('--development belongs to serve');
  const overrides = new Map<string, string>();
  for (const [field, flag, variables] of overridable) {
    const value = values[flag] ?? firstOf(environment, variables);
    if (value !== undefined) overrides.set(field, value);
  }
  const fromEnvironment = firstOf(environment, ['BAO_KMS_PROVIDER_CONFIG', 'BAO_KMS_PROVIDER_CONFIG_PATH']);
  const configPath = values.config ?? fromEnvironment ?? defaultConfigPath;
  return { command, configPath, overrides, isDevelopment: values.development === true };
}

function parseWords(words: readonly string[]) {
  try {
    return parseArgs({ args: [...words], options, allowPositionals: true, strict: true });
  } catch {
    throw usage('unknown flag, or a flag without its value');
  }
}

function commandOf(positionals: readonly string[], isHelp: boolean, isVersion: boolean): Command {
  if (isHelp || (positionals.length === 0 && !isVersion)) return 'help';
  if (isVersion) return 'version';
  const command = positionals.join(' ');
  if (commands.includes(command)) return command as Command;
  throw usage('unknown command');
}

/** The first non-empty variable: an empty one counts as unset. */
function firstOf(environment: Environment, names: readonly string[]): string | undefined {
  return names.map((name) => environment[name]).find((value) => value !== undefined && value !== '');
}

function usage(message: string): ProviderError {
  return new ProviderError('usage_invalid', `${message}; see bao-kms-provider help`);
}
