// The commands `config` and `config schema`: purely local, no plugin, no validation.

import type { ConfigOptions } from '../../shared/config/config.ts';
import { identityOf } from '../../shared/config/config.ts';
import { decodeDocument } from '../../shared/config/decode.ts';
import { configSchema } from '../../shared/config/schema.ts';
import { ProviderError } from '../../shared/errors/error.ts';
import { deriveFingerprint } from '../../shared/registry/fingerprint.ts';
import { readTrustedFile } from '../custody/trusted-file.ts';
import { parseYaml } from '../gate/yaml.ts';
import type { ProcessIdentity } from '../system.ts';

const rules = { field: 'config', forbiddenBits: 0o037, greatestBytes: 1024 * 1024 };

/** One `name: value` a line; the fingerprint only when every identity value is there. */
export function describeConfig(path: string, options: ConfigOptions, identity: ProcessIdentity): string {
  const document = parseYaml(readTrustedFile(path, rules, identity).bytes);
  const { values } = decodeDocument(document, options.overrides ?? new Map());
  const text = (field: string) => String(values.get(field) ?? '');
  const lines = [
    ['configVersion', text('configVersion')],
    ['socketPath', text('server.socketPath')],
    ['metricsAddress', text('server.metricsAddress')],
    ['healthAddress', text('server.healthAddress')],
    ['authMethod', text('auth.method')],
    ['identityFingerprint', fingerprintOrNone(values)],
  ];
  return lines
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}: ${value}\n`)
    .join('');
}

function fingerprintOrNone(values: Parameters<typeof identityOf>[0]): string | undefined {
  try {
    return deriveFingerprint(identityOf(values));
  } catch (error) {
    if (error instanceof ProviderError) return undefined;
    throw error;
  }
}

export function describeSchema(): string {
  return `${JSON.stringify(configSchema(), null, 2)}\n`;
}
