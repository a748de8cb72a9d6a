// What the three commands that change versions have in common: the plan, the look at OpenBao, and with --apply the save.

import { ProviderError } from '../../shared/errors/error.ts';
import { exitCodes } from '../../shared/errors/exit-codes.ts';
import type { RegistryState, Snapshot } from '../../shared/registry/state.ts';
import { hashText } from '../../shared/text/hash.ts';
import { type PassedTask, passTaskGate } from '../gate/gate.ts';
import type { CommandDeps, Invocation } from './command.ts';
import { type Apply, applyOf } from './flag-values.ts';
import { askAboutKey, errorOf, type KeyReport } from './key-question.ts';
import { type Member, printReport, type Report } from './report.ts';
import { limitation } from './rotation-report.ts';
import { refused, type Transition } from './transition.ts';

export type VersionChange = {
  /** 0 where the command has none. */
  readonly beforeVersion: number;
  /**
   * Which state follows, with what OpenBao says of whichever state it is asked about.
   *
   * @throws ProviderError `transition_refused`
   */
  readonly decide: (
    state: RegistryState,
    askAbout: (state: RegistryState) => Promise<KeyReport>,
  ) => Promise<Transition>;
};

/**
 * Prints the plan, or what was done.
 *
 * @returns 0
 * @throws ProviderError `usage_invalid`, `transition_refused`, `state_save_failed`, `task_failed` and those of the gate
 */
export async function changeVersions(
  invocation: Invocation,
  change: VersionChange,
  deps: CommandDeps,
): Promise<number> {
  const { configPath, options, output } = invocation;
  const wanted = applyOf(invocation.flags);
  const passed = await passTaskGate(configPath, options, deps, wanted !== undefined);
  const { store, pair } = passed;
  const before = store.current;
  if (before === undefined) throw refused('there is no registry state on this node');
  if (pair.kind === 'accepted' && pair.writeCheckpoint === 'missing') {
    throw refused('the state has no checkpoint; start the provider once, it recreates and reports it');
  }
  checkExpected(wanted, before);
  const transition = await change.decide(before, (state) => askAboutKey(passed, state, options, deps));
  if (wanted !== undefined) await apply(transition, before, passed);
  const { name } = invocation;
  const report = transitionReport({ name, isApplied: wanted !== undefined, ...change }, before, transition);
  deps.print(printReport(report, output));
  return exitCodes.success;
}

/**
 * A transition that the live key still serves afterwards.
 *
 * @throws ProviderError `transition_refused`
 */
export async function served(
  transition: Transition,
  askAbout: (state: RegistryState) => Promise<KeyReport>,
): Promise<Transition> {
  const live = await askAbout(transition.next);
  if (live.metadata === 'pass') return transition;
  throw refused(
    `the Transit key does not serve what would remain, or could not be read: ${errorOf(live) ?? 'unknown'}`,
  );
}

function checkExpected(wanted: Apply | undefined, state: RegistryState): void {
  if (wanted === undefined || wanted.expectedStateHash === state.currentHash) return;
  throw refused('the state has another hash than --expected-state-hash: it changed since the plan; make a new one');
}

/** Under the lock: completes an interrupted save, looks at the hash again, writes only what changes something. */
async function apply({ next }: Transition, before: RegistryState, { store }: PassedTask): Promise<void> {
  await store.complete(await store.load());
  if (store.current?.currentHash !== before.currentHash) throw refused('the state changed meanwhile; make a new plan');
  if (next.currentHash === before.currentHash) return;
  const { outcome, onDisk } = await store.saveTransition(next);
  if (outcome === 'saved') return;
  const found = `on disk is the ${onDisk} state`;
  throw new ProviderError(
    'state_save_failed',
    `not saved: ${found}; before: generation ${before.generation} ${before.currentHash}, attempted: generation ${next.generation} ${next.currentHash}; inspect the state before a retry`,
  );
}

const correctionLimitation =
  'only right if this key was never deleted and created again: what was encrypted under the forgotten key_id of version 1 does not decrypt afterwards';

function transitionReport(
  { name, isApplied, beforeVersion }: { name: string; isApplied: boolean; beforeVersion: number },
  before: RegistryState,
  { next, removed, restored, forgotten, corrected, waiting }: Transition,
): Report {
  const versions = (snapshots: readonly Snapshot[]) =>
    snapshots.map(({ transitVersion, kubernetesKeyId }) => ({ transitVersion, keyIdHash: hashText(kubernetesKeyId) }));
  const members: Record<string, Member> = {
    operation: name,
    applied: isApplied,
    beforeVersion,
    stateHash: before.currentHash,
    nextStateHash: next.currentHash,
    nextGeneration: next.generation,
    activeKeyIdHash: hashText(before.activeKeyId),
    removedVersions: versions(removed),
    restoredVersions: versions(restored),
    forgottenVersions: versions(forgotten),
    correctedVersions: versions(corrected === undefined ? [] : [corrected]),
    waitingVersions: versions(waiting === undefined ? [] : [waiting]),
    limitations: corrected === undefined ? [limitation] : [limitation, correctionLimitation],
  };
  return { members, always: Object.keys(members) };
}
