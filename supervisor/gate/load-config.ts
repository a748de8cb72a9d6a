// The configuration of any command that acts on it: the file read safely, parsed, and validated with all problems at once.

import { type Config, type ConfigOptions, readConfig } from '../../shared/config/config.ts';
import { ConfigInvalid, type Problem } from '../../shared/config/problem.ts';
import { readTrustedFile } from '../custody/trusted-file.ts';
import type { ProcessIdentity } from '../system.ts';
import { parseYaml } from './yaml.ts';

export type LoadedConfig = {
  readonly config: Config;
  readonly document: unknown;
  readonly warnings: readonly Problem[];
};

/** @throws ProviderError `file_unsafe`, `file_changed`, `file_too_large`, `config_invalid` for what is no YAML */
export function readDocument(path: string, identity: ProcessIdentity): unknown {
  // Named in the message: nobody should have to guess which file was looked for.
  const rules = { field: `config ${path}`, forbiddenBits: 0o037, maxBytes: 1024 * 1024 };
  return parseYaml(readTrustedFile(path, rules, identity).bytes);
}

/** @throws ProviderError `config_invalid` */
export function judgeDocument(document: unknown, options: ConfigOptions): LoadedConfig {
  const { config, problems, warnings } = readConfig(document, options);
  if (config === undefined) throw new ConfigInvalid(problems);
  return { config, document, warnings };
}
