// The gate: the checks in the order of trust, before the plugin exists and before anything but the two lock files is made. Who passes
// stops at the first refusal, and nothing else was changed; who only looks hears of all of them. Parts of it run again before every relaunch.

import type { Config, ConfigOptions } from '../../shared/config/config.ts';
import type { Privilege } from '../../shared/confinement/confinement.ts';
import { credentialFiles, noNews } from '../custody/credentials.ts';
import type { Lock } from '../custody/lock.ts';
import type { CheckId, GateRefusal } from '../refusal.ts';
import { check, type Facts, type GateDeps, type LoadedConfig, type Purpose, type Visit } from './checks/check.ts';
import { judgeDocument, readDocument } from './checks/config.ts';
import { commandChecks, type Row, servingChecks } from './checks/table.ts';
import { checkReloadable } from './reload.ts';

/** What a passed gate holds, until the end. */
export type Passed = LoadedConfig &
  Omit<Facts, 'loaded' | 'locks'> & {
    readonly locks: Readonly<Record<'state' | 'runtime', Lock>>;
    /** From now on the settings of this configuration count for the state. */
    readonly adopt: (config: Config) => void;
  };

/**
 * Runs all checks of a provider.
 *
 * @throws GateRefusal; nothing is held then
 */
export async function passGate(configPath: string, options: ConfigOptions, deps: GateDeps): Promise<Passed> {
  const { loaded, locks, ...facts } = await passAll(servingChecks, { configPath, options, deps, purpose: 'serve' });
  const { state, runtime } = locks;
  if (state === undefined || runtime === undefined) throw new Error('the gate passed without its locks');
  const adopt = ({ state: { requireCheckpoint }, rotation: { activationDelayMs } }: Config) =>
    facts.store.configure({ requireCheckpoint, activationDelayMs });
  return { ...loaded, ...facts, locks: { state, runtime }, adopt };
}

export type TaskGateDeps = Omit<GateDeps, 'credentialFiles'>;

export type PassedTask = LoadedConfig &
  Pick<Facts, 'helpers' | 'credentials' | 'store' | 'pair'> & { readonly privilege: Privilege };

/**
 * Runs the checks of a command that reads or changes the registry, with the writer lock only when it is to write. Creates nothing
 * but that lock file, and holds it until the process ends.
 *
 * @throws GateRefusal
 */
export async function passTaskGate(
  configPath: string,
  options: ConfigOptions,
  deps: TaskGateDeps,
  isWriting: boolean,
): Promise<PassedTask> {
  const purpose = isWriting ? 'change' : 'read';
  const visit = { configPath, options, deps: { ...deps, credentialFiles: noNews }, purpose } as const;
  const { loaded, identity, ...facts } = await passAll(commandChecks, visit);
  return { ...loaded, ...facts, privilege: identity.privilege };
}

/** What was found of one check by who only looks. */
export type Finding = { readonly id: CheckId; readonly title: string } & (
  | { readonly outcome: 'passed' }
  | { readonly outcome: 'refused'; readonly refusal: GateRefusal }
  /** It needs what these were to find out. */
  | { readonly outcome: 'not_run'; readonly because: readonly CheckId[] }
);

/** Runs every check that can run. Makes no file and takes no lock, holds nothing afterwards, and never throws. */
export async function lookAtGate(
  configPath: string,
  options: ConfigOptions,
  deps: TaskGateDeps,
  purpose: Purpose,
): Promise<readonly Finding[]> {
  const rows = purpose === 'serve' ? servingChecks : commandChecks;
  const { hold, release } = createHoldings();
  const visit: Visit = { configPath, options, deps: { ...deps, credentialFiles: noNews }, purpose, hold };
  const facts: Partial<Facts> = {};
  const findings: Finding[] = [];
  for (const { id, title, needs, look } of rows) {
    const missing = needs.filter((name) => !(name in facts));
    const because = rows.filter(({ gives }) => gives.some((name) => missing.includes(name))).map((row) => row.id);
    if (because.length > 0) {
      findings.push({ id, title, outcome: 'not_run', because });
      continue;
    }
    const refusal = await check(id, async () => void Object.assign(facts, await look(facts as Facts, visit))).catch(
      (error: unknown) => error as GateRefusal,
    );
    findings.push(
      refusal === undefined ? { id, title, outcome: 'passed' } : { id, title, outcome: 'refused', refusal },
    );
  }
  release();
  return findings;
}

/** Each check needs only what those before it give; so says the test of the table. */
async function passAll(rows: readonly Row[], visit: Omit<Visit, 'hold'>): Promise<Facts> {
  const { hold, release } = createHoldings();
  const facts: Partial<Facts> = {};
  try {
    for (const { id, take } of rows) {
      Object.assign(facts, await check(id, () => take(facts as Facts, { ...visit, hold })));
    }
    return facts as Facts;
  } catch (error) {
    release();
    throw error;
  }
}

/** Let go of in the opposite order. */
function createHoldings() {
  const held: { readonly release: () => void }[] = [];
  return {
    hold: (one: { readonly release: () => void }) => void held.push(one),
    release: () => {
      for (const { release } of held.reverse()) release();
    },
  };
}

/** A configuration that was read again, with the custody of the credential files that it names; neither is in force yet. */
export type Reloaded = LoadedConfig & Pick<Passed, 'credentials'>;

/**
 * The checks of configuration and credentials for a reload, and that nothing changed that needs a restart. Changes nothing.
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
