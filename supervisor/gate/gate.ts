// The gate: eight checks in the order of trust, before the plugin exists and before anything but the two lock files is made.
// The first failure ends it; nothing else was changed. Parts of it run again before every relaunch.

import type { Config, ConfigOptions } from '../../shared/config/config.ts';
import type { PairVerdict } from '../../shared/registry/pair.ts';
import type { Clock } from '../../shared/time/clock.ts';
import {
  type CredentialCustody,
  createCredentialCustody,
  credentialFiles,
  type FileNews,
} from '../custody/credentials.ts';
import { type Lock, takeLock } from '../custody/lock.ts';
import { type PinnedDirectory, pinDirectory } from '../custody/pinned-directory.ts';
import { proveSocketDead, type SocketFinding, type SocketName } from '../custody/socket.ts';
import { createStateFiles } from '../custody/state-files.ts';
import { StateStore } from '../custody/state-store.ts';
import { type CheckId, GateRefusal } from '../refusal.ts';
import {
  type CallerDeps,
  checkNobodyRuns,
  checkReader,
  checkUser,
  type Places,
  placesOf,
  socketLockPath,
  stateLockPath,
} from './caller.ts';
import { checkIdentity, checkRuntime, type Helpers, type ResolvedIdentity, splitPath } from './checks.ts';
import { judgeDocument, type LoadedConfig, readDocument } from './load-config.ts';
import { checkReloadable } from './reload.ts';

export type { LoadedConfig } from './load-config.ts';

export type GateDeps = CallerDeps & {
  readonly clock: Clock;
  readonly randomHex: (sizeBytes: number) => string;
  readonly pid: number;
  readonly runHelper: (
    path: string,
    args: readonly string[],
    descriptor?: number,
  ) => Promise<{ readonly exitCode: number | undefined; readonly output: string }>;
  readonly credentialFiles: FileNews;
};

/** What a passed gate holds, until the end. */
export type Passed = LoadedConfig & {
  readonly helpers: Helpers;
  readonly identity: ResolvedIdentity;
  readonly credentials: CredentialCustody;
  readonly socket: SocketName;
  readonly store: StateStore;
  readonly pair: PairVerdict;
  readonly socketFinding: SocketFinding;
  readonly stateDirectory: PinnedDirectory;
  readonly locks: Readonly<Record<'state' | 'runtime', Lock>>;
  /** From now on the settings of this configuration count for the state. */
  readonly adopt: (config: Config) => void;
};

/**
 * Check 2 of a command that acts, and first of all who calls: a provider that runs already is named, and somebody who is not
 * its user is told so, before this check or any other speaks of files, owners or rights.
 *
 * @param locks  those that the command is going to take
 * @throws GateRefusal
 */
export async function passConfig(
  path: string,
  options: ConfigOptions,
  deps: Omit<GateDeps, 'credentialFiles'>,
  helpers: Helpers,
  locks: readonly ((places: Places) => string)[],
): Promise<LoadedConfig> {
  const document = await check('gate.config', () => readDocument(path, deps.identity)).catch(async (error: unknown) => {
    await check('gate.identity', () => checkReader(path, deps, helpers));
    throw error;
  });
  const places = placesOf(document);
  const lockPaths = locks.map((pathIn) => pathIn(places));
  await check('gate.lock', () => checkNobodyRuns(lockPaths, lockDepsOf(deps, helpers)));
  await check('gate.identity', () => checkUser(places, deps, helpers));
  return check('gate.config', () => judgeDocument(document, options));
}

/**
 * Runs all eight checks.
 *
 * @throws GateRefusal
 */
export async function passGate(path: string, options: ConfigOptions, deps: GateDeps): Promise<Passed> {
  const held: { readonly release: () => void }[] = [];
  try {
    const helpers = await check('gate.runtime', () => checkRuntime(deps));
    const loaded = await passConfig(path, options, deps, helpers, [stateLockPath, socketLockPath]);
    const { config } = loaded;
    const credentials = createCredentialCustody(credentialFiles(config), deps.identity, deps.credentialFiles);
    await check('gate.credentials', () => credentials.check());
    const identity = await check('gate.identity', () => checkIdentity(deps, helpers, config));
    const socketPath = splitPath(config.server.socketPath);
    const runtime = await check('gate.runtime_directory', () =>
      pinDirectory(socketPath.directory, 'runtime', deps.identity.uid),
    );
    held.push({ release: runtime.close });
    const statePath = splitPath(config.state.path);
    const { stateDirectory, locks } = await check('gate.lock', async () => {
      const stateDirectory = pinDirectory(statePath.directory, 'state', deps.identity.uid);
      held.push({ release: stateDirectory.close });
      const lockDeps = lockDepsOf(deps, helpers);
      const state = await takeLock(stateDirectory, `${statePath.name}.lock`, lockDeps);
      held.push(state);
      const socket = await takeLock(runtime, socketLockName(socketPath.name), lockDeps);
      held.push(socket);
      return { stateDirectory, locks: { state, runtime: socket } };
    });
    const store = openStore(stateDirectory, statePath.name, config, deps);
    const pair = await check('gate.state', () => store.load());
    const socket = { directory: runtime, name: socketPath.name };
    const socketFinding = await check('gate.socket', () => proveSocketDead(socket, deps.clock));
    const adopt = (next: Config) => {
      store.configure({
        requireCheckpoint: next.state.requireCheckpoint,
        activationDelayMs: next.rotation.activationDelayMs,
      });
    };
    const custody = { credentials, socket, store, pair, socketFinding, stateDirectory, locks };
    return { ...loaded, helpers, identity, ...custody, adopt };
  } catch (error) {
    for (const { release } of held.reverse()) release();
    throw error;
  }
}

/** The store of a configuration's state in its pinned directory; reads nothing yet. */
export function openStore(
  directory: PinnedDirectory,
  name: string,
  config: Config,
  deps: Pick<GateDeps, 'identity' | 'clock' | 'randomHex'>,
): StateStore {
  return new StateStore({
    files: createStateFiles(directory, deps.identity.uid),
    name,
    identity: config.identity,
    requireCheckpoint: config.state.requireCheckpoint,
    activationDelayMs: config.rotation.activationDelayMs,
    nowMs: deps.clock.nowMs,
    nowUnix: () => Math.floor(deps.clock.wallMs() / 1000),
    randomHex: deps.randomHex,
  });
}

/** The lock in the runtime directory. */
export function socketLockName(socketName: string): string {
  return `.${socketName}.lock`;
}

export function lockDepsOf(deps: Omit<GateDeps, 'credentialFiles' | 'randomHex'>, helpers: Helpers) {
  return {
    uid: deps.identity.uid,
    pid: deps.pid,
    wallMs: deps.clock.wallMs,
    flock: async (descriptor: number) => {
      const { exitCode } = await deps.runHelper(helpers.flock, ['-n', '-x', '3'], descriptor);
      return exitCode;
    },
    isShareable: async (descriptor: number) => {
      const { exitCode } = await deps.runHelper(helpers.flock, ['-n', '-s', '3'], descriptor);
      return exitCode === 0;
    },
    pause: (ms: number) => new Promise<void>((resolve) => deps.clock.after(ms, resolve)),
  };
}

/** A configuration that was read again, with the custody of the credential files that it names; neither is in force yet. */
export type Reloaded = LoadedConfig & Pick<Passed, 'credentials'>;

/**
 * Checks 2 and 3 for a reload, and that nothing changed that needs a restart. Changes nothing.
 *
 * @throws GateRefusal
 */
export async function readReload(
  path: string,
  options: ConfigOptions,
  deps: GateDeps,
  passed: Passed,
): Promise<Reloaded> {
  const loaded = await check('gate.config', () => {
    const next = judgeDocument(readDocument(path, deps.identity), options);
    checkReloadable(passed.config, next.config);
    return next;
  });
  const credentials = passed.credentials.fork(credentialFiles(loaded.config), deps.credentialFiles);
  await check('gate.credentials', () => credentials.check());
  return { ...loaded, credentials };
}

/** Runs one check; whatever it throws becomes its refusal. */
export async function check<T>(id: CheckId, run: () => T | Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    throw new GateRefusal(id, error);
  }
}
