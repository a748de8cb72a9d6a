// The command `config`: prints the main settings in force, one `name: value` a line, and every problem.

import { identityOf, readConfig } from '../../shared/config/config.ts';
import { decodeDocument } from '../../shared/config/decode.ts';
import type { FieldPath } from '../../shared/config/fields.ts';
import { sentenceOf } from '../../shared/config/problem.ts';
import { ProviderError } from '../../shared/errors/error.ts';
import { exitCodes } from '../../shared/errors/exit-codes.ts';
import { deriveFingerprint } from '../../shared/registry/fingerprint.ts';
import type { Command } from './command.ts';
import { readDocument } from './config-file.ts';

/** @throws ProviderError `file_unsafe`, `file_too_large`, `config_invalid` when there is nothing to print */
export const run: Command['run'] = ({ configPath, options }, { print, printError }) => {
  const document = readDocument(configPath);
  const { values } = decodeDocument(document, options.overrides ?? new Map());
  const text = (field: FieldPath) => String(values.get(field) ?? '');
  const lines = [
    ['configVersion', text('configVersion')],
    ['socketPath', text('server.socketPath')],
    ['metricsAddress', text('server.metricsAddress')],
    ['healthAddress', text('server.healthAddress')],
    ['authMethod', text('auth.method')],
    ['identityFingerprint', fingerprintOrNone(values)],
  ];
  for (const [name, value] of lines) if (value !== undefined) print(`${name}: ${value}\n`);
  const { problems } = readConfig(document, options);
  for (const one of problems) printError(`bao-kms-provider: ${sentenceOf(one)}\n`);
  return problems.length === 0 ? exitCodes.success : exitCodes.configuration;
};

/** Only when every identity value is there. */
function fingerprintOrNone(values: Parameters<typeof identityOf>[0]): string | undefined {
  try {
    return deriveFingerprint(identityOf(values));
  } catch (error) {
    if (error instanceof ProviderError) return undefined;
    throw error;
  }
}
