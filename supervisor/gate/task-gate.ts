// The gate of a command that reads or changes the registry: checks 1 to 4 and 7, with the writer lock (6) only when it is to
// write. Creates nothing but that lock file.

import type { ConfigOptions } from '../../shared/config/config.ts';
import type { Privilege } from '../../shared/confinement/confinement.ts';
import type { PairVerdict } from '../../shared/registry/pair.ts';
import { type CredentialCustody, createCredentialCustody, credentialFiles, noNews } from '../custody/credentials.ts';
import { takeLock } from '../custody/lock.ts';
import { pinDirectory } from '../custody/pinned-directory.ts';
import type { StateStore } from '../custody/state-store.ts';
import { stateLockPath } from './caller.ts';
import { checkRuntime, checkTaskIdentity, type Helpers, splitPath } from './checks.ts';
import { check, type GateDeps, type LoadedConfig, lockDepsOf, openStore, passConfig } from './gate.ts';

export type TaskGateDeps = Omit<GateDeps, 'credentialFiles'>;

export type PassedTask = LoadedConfig & {
  readonly helpers: Helpers;
  readonly privilege: Privilege;
  readonly credentials: CredentialCustody;
  readonly store: StateStore;
  readonly pair: PairVerdict;
};

/** @throws GateRefusal */
export async function passTaskGate(
  path: string,
  options: ConfigOptions,
  deps: TaskGateDeps,
  isWriting: boolean,
): Promise<PassedTask> {
  const helpers = await check('gate.runtime', () => checkRuntime(deps));
  const loaded = await passConfig(path, options, deps, helpers, isWriting ? [stateLockPath] : []);
  const { config } = loaded;
  const credentials = createCredentialCustody(credentialFiles(config), deps.identity, noNews);
  await check('gate.credentials', () => credentials.check());
  const privilege = await check('gate.identity', () => checkTaskIdentity(deps, helpers, config));
  const { directory, name } = splitPath(config.state.path);
  const pinned = await check('gate.lock', async () => {
    const found = pinDirectory(directory, 'state', deps.identity.uid);
    // Held until the process ends.
    if (isWriting) await takeLock(found, `${name}.lock`, lockDepsOf(deps, helpers));
    return found;
  });
  const store = openStore(pinned, name, config, deps);
  const pair = await check('gate.state', () => store.load());
  return { ...loaded, helpers, privilege, credentials, store, pair };
}
