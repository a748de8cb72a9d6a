// The configuration file as `config` and `config check` read it: purely local. They judge the values, not the owner and the mode of the
// file, so that a file can be checked anywhere, by anybody, before it is installed.

import { readPlainFile } from '../custody/plain-file.ts';
import { parseYaml } from '../gate/yaml.ts';

const maxBytes = 1024 * 1024;

/** @throws ProviderError `file_unsafe`, `file_too_large`, `config_invalid` when it is no YAML document */
export function readDocument(path: string): unknown {
  return parseYaml(readPlainFile(path, 'config', maxBytes));
}
