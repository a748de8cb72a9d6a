// Check 2: who calls, then the configuration: the file read safely, parsed, and validated with all problems at once.

import { type ConfigOptions, readConfig } from '../../../shared/config/config.ts';
import { ConfigInvalid } from '../../../shared/config/problem.ts';
import { readTrustedFile } from '../../custody/trusted-file.ts';
import type { ProcessIdentity } from '../../system.ts';
import {
  checkNobodyRuns,
  checkReader,
  checkUser,
  type Places,
  placesOf,
  socketLockPath,
  stateLockPath,
} from '../caller.ts';
import { parseYaml } from '../yaml.ts';
import {
  check,
  type GateCheck,
  type GateDeps,
  type Helpers,
  type LoadedConfig,
  lockDepsOf,
  type Purpose,
  type Visit,
} from './check.ts';

/**
 * A provider that runs already is named, and a caller who is not its user is told so, before this check or any other complains about
 * files, owners or rights.
 */
export const config: GateCheck<'helpers', 'loaded'> = {
  title: 'the configuration can be read safely and is valid',
  needs: ['helpers'],
  gives: ['loaded'],
  look: ({ helpers }, visit) => loadConfig(helpers, visit, []),
  take: ({ helpers }, visit) => loadConfig(helpers, visit, lockPathsOf[visit.purpose]),
};

/** The locks that are going to be taken. */
const lockPathsOf: Readonly<Record<Purpose, readonly ((places: Places) => string)[]>> = {
  serve: [stateLockPath, socketLockPath],
  change: [stateLockPath],
  read: [],
};

async function loadConfig(
  helpers: Helpers,
  { configPath, options, deps }: Visit,
  locks: readonly ((places: Places) => string)[],
): Promise<{ readonly loaded: LoadedConfig }> {
  const document = await readFor(configPath, helpers, deps); // step: config.read
  const places = placesOf(document);
  const lockPaths = locks.map((pathIn) => pathIn(places));
  await check('gate.lock', () => checkNobodyRuns(lockPaths, lockDepsOf(deps, helpers)));
  await check('gate.identity', () => checkUser(places, deps, helpers));
  return { loaded: judgeDocument(document, options) };
}

/** A caller who may not read it is told which user to run as. */
async function readFor(path: string, helpers: Helpers, deps: GateDeps): Promise<unknown> {
  try {
    return readDocument(path, deps.identity);
  } catch (error) {
    await check('gate.identity', () => checkReader(path, deps, helpers));
    throw error;
  }
}

/** @throws ProviderError `file_unsafe`, `file_changed`, `file_too_large`, `config_invalid` for what is not YAML */
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
