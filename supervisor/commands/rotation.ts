// The commands about rotation: `rotation-plan` and `verify-rotation` report, `retire-versions`, `restore-versions` and
// `forget-versions` plan and, told to, change the registry. All ask OpenBao through the same confined plugin that serves; none encrypts anything.

import type { ReportMessage, StartMessage } from '../../shared/channel/messages.ts';
import type { ConfigOptions } from '../../shared/config/config.ts';
import { withoutPaths } from '../../shared/config/paths.ts';
import { errorClassOf, ProviderError } from '../../shared/errors/error.ts';
import { isLarge } from '../../shared/registry/belief.ts';
import { deriveFingerprint } from '../../shared/registry/fingerprint.ts';
import type { RegistryState, Snapshot } from '../../shared/registry/state.ts';
import { activeSnapshot } from '../../shared/registry/successor.ts';
import { hashText } from '../../shared/text/hash.ts';
import { type PassedTask, passTaskGate, type TaskGateDeps } from '../gate/gate.ts';
import { pluginEnvironment, startChild } from '../launch/child.ts';
import { nodeFlags, pluginCommand } from '../launch/plugin-command.ts';
import { type OutputSink, readPluginOutput } from '../launch/plugin-output.ts';
import { runTask } from '../launch/task.ts';
import { GateRefusal } from '../refusal.ts';
import { type Member, type OutputFormat, printReport, type Report } from './report.ts';
import { forgetVersions, refused, restoreVersions, retireVersions, type Transition } from './transition.ts';

export type RotationCommand =
  | { readonly name: 'rotation-plan' | 'verify-rotation' }
  | { readonly name: 'retire-versions'; readonly beforeVersion: number; readonly apply: Apply | undefined }
  | { readonly name: 'restore-versions'; readonly versions: readonly string[]; readonly apply: Apply | undefined }
  | { readonly name: 'forget-versions'; readonly versions: readonly number[]; readonly apply: Apply | undefined };

/** Only if the state still has the hash of the plan that was reviewed. */
export type Apply = { readonly expectedStateHash: string };

export type RotationOptions = ConfigOptions & { readonly configPath: string; readonly output: OutputFormat };

export type RotationDeps = TaskGateDeps & {
  readonly build: StartMessage['build'];
  readonly nodePath: string;
  readonly pluginBundle: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly print: (text: string) => void;
  /** To standard error. */
  readonly writeLine: (line: string) => void;
};

const limitation =
  'the local registry and live metadata cannot prove that every object and every retained backup was rewritten';

/**
 * Prints its report, also when it then fails.
 *
 * @returns the exit code: 0, or 4 when live metadata could not be read or the rights of the token are not the right ones
 * @throws ProviderError `config_invalid`, `transition_refused`, `task_failed` and those of the gate
 */
export async function runRotationCommand(
  command: RotationCommand,
  options: RotationOptions,
  deps: RotationDeps,
): Promise<number> {
  const isWriting = 'apply' in command && command.apply !== undefined;
  const passed = await passTaskGate(options.configPath, options, deps, isWriting);
  if ('apply' in command) return changeVersions(command, passed, options, deps);
  return describeRotation(command.name, passed, options, deps);
}

function ask(passed: PassedTask, state: RegistryState | undefined, options: RotationOptions, deps: RotationDeps) {
  const { config, helpers, privilege } = passed;
  const target = [deps.nodePath, ...nodeFlags(deps.pluginBundle, deps.identity.nodeMajor), deps.pluginBundle];
  // A command says what it has to say in its report.
  const overrides = { 'logging.level': 'error', ...Object.fromEntries(options.overrides ?? []) };
  return runTask(
    {
      credentials: passed.credentials,
      privilege,
      launch: () => {
        const child = startChild({
          command: pluginCommand(helpers, privilege, target),
          descriptors: [undefined, undefined, undefined],
          environment: pluginEnvironment(deps.environment),
          clock: deps.clock,
        });
        readPluginOutput(child.output, deps.clock, commandOutput(deps));
        return child;
      },
      start: {
        kind: 'start',
        task: 'read_key',
        build: deps.build,
        config: withoutPaths(passed.document),
        overrides,
        identityFingerprint: deriveFingerprint(config.identity),
      },
    },
    state,
    deps.clock,
  );
}

/** The report is what the plugin says; its last words, should it have any, are for the terminal. */
function commandOutput({ writeLine }: RotationDeps): OutputSink {
  const say = (text: string) => writeLine(`bao-kms-provider: plugin: ${JSON.stringify(text.slice(0, 512))}\n`);
  return { event: ({ message }) => say(message), text: say, dropped: () => {} };
}

async function describeRotation(
  name: 'rotation-plan' | 'verify-rotation',
  passed: PassedTask,
  options: RotationOptions,
  deps: RotationDeps,
): Promise<number> {
  const state = passed.store.current;
  const live = await ask(passed, state, options, deps);
  deps.print(printReport(rotationReport(name, passed, live, options), options.output));
  if (live.metadata === 'fail' || live.rightFindings?.length !== 0) return 4;
  return state === undefined && live.bootstrap?.isEligible !== true ? 4 : 0;
}

const checkpointStatus = { no: 'current', behind: 'behind', missing: 'missing' } as const;

function rotationReport(name: string, passed: PassedTask, live: ReportMessage, options: RotationOptions): Report {
  const { store, pair, config } = passed;
  const state = store.current;
  const { checkpoint } = store;
  const { pending, bootstrap } = live;
  const promotesAt =
    pending === undefined || pending.stableAtUnix === 0
      ? undefined
      : new Date(pending.stableAtUnix * 1000 + config.rotation.activationDelayMs).toISOString();
  const active = state && activeSnapshot(state);
  const members: Record<string, Member> = {
    name,
    transitMetadataStatus: live.metadata,
    transitMetadataError: errorOf(live),
    failureKind: failureKindOf(live),
    transitRightsStatus:
      live.rightFindings === undefined ? 'unknown' : live.rightFindings.length === 0 ? 'pass' : 'fail',
    transitRightsFindings: live.rightFindings,
    transitDisableUpsert: live.isUpsertDisabled,
    stateLoaded: state !== undefined,
    stateGeneration: state?.generation,
    stateHash: state?.currentHash,
    stateCheckpointLoaded: checkpoint !== undefined,
    stateCheckpointStatus: pair.kind === 'absent' ? 'absent' : checkpointStatus[pair.writeCheckpoint],
    stateCheckpointGeneration: checkpoint?.generation,
    stateCheckpointHash: checkpoint?.currentHash,
    stateBootstrapEligible: bootstrap?.isEligible,
    stateBootstrapReason: bootstrap?.reason,
    rotationState: rotationStateOf(state, live),
    activeKeyIdHash: active === undefined ? bootstrap?.keyIdHash : hashText(active.kubernetesKeyId),
    activeTransitVersion:
      active === undefined ? (bootstrap?.isEligible === true ? 1 : undefined) : active.transitVersion,
    latestTransitVersion: live.latestVersion,
    pendingKeyIdHash: pending?.keyIdHash,
    pendingTransitVersion: pending?.transitVersion,
    pendingStableObservationCount: pending?.stableObservationCount,
    pendingPromotesAfter: promotesAt,
    warnings: warningsOf(live, state, options),
    ...(name === 'verify-rotation' ? { confidence: 'limited', limitations: [limitation] } : {}),
  };
  const always = [
    'name',
    'transitMetadataStatus',
    'transitRightsStatus',
    'stateLoaded',
    'stateCheckpointLoaded',
    'rotationState',
  ];
  // An upsert policy that was read and allows keys by accident must not look as if it had not been read.
  return { members, always: live.isUpsertDisabled === undefined ? always : [...always, 'transitDisableUpsert'] };
}

function failureKindOf({ metadata, isUnreachable, rightFindings }: ReportMessage): string | undefined {
  if (metadata === 'fail') return isUnreachable === true ? 'unreachable' : 'check';
  return rightFindings?.length === 0 ? undefined : 'check';
}

function errorOf({ errorClass, finding }: ReportMessage): string | undefined {
  if (errorClass === undefined) return undefined;
  return finding === undefined ? errorClass : `${errorClass} (${finding})`;
}

function rotationStateOf(state: RegistryState | undefined, live: ReportMessage): 'active' | 'pending' | 'unknown' {
  const isPending = state?.snapshots.some((one) => one.state === 'pending') === true || live.pending !== undefined;
  if (isPending) return 'pending';
  return state !== undefined || live.bootstrap?.isEligible === true ? 'active' : 'unknown';
}

const warningTexts: Readonly<Record<string, string>> = {
  auto_rotate_period: 'OpenBao rotates this key by itself: promotions follow without anybody deciding',
  imported_key: 'the key material was imported: copies may exist outside OpenBao',
};

function warningsOf(
  live: ReportMessage,
  state: RegistryState | undefined,
  options: RotationOptions,
): readonly string[] {
  const known = (live.warnings ?? []).map((code) => warningTexts[code] ?? code);
  if (live.isUpsertDisabled === false) known.push('the mount makes keys on demand: set disable_upsert=true');
  if (live.pending?.isSuperseding === true) {
    known.push(
      'this candidate supersedes another one that was still waiting: two rotations before the nodes converged',
    );
  }
  const { contradictedVersions = [], retiredCandidate } = live;
  if (contradictedVersions.length > 0) {
    const versions = contradictedVersions.join(',');
    const line = commandLine('forget-versions', versions, options);
    known.push(`OpenBao does not have version ${versions} as it is recorded here; plan the way back: ${line}`);
  }
  if (retiredCandidate !== undefined) {
    const line = commandLine('restore-versions', String(retiredCandidate), options);
    known.push(`version ${retiredCandidate} was retired here before it was active; plan its return: ${line}`);
  }
  if (state !== undefined && isLarge(state)) {
    known.push('the registry is nearly full: when it is, newer versions of the key are no longer taken');
  }
  return known;
}

/** To be copied into a shell. */
function commandLine(name: string, versions: string, { configPath, developmentDirectory }: RotationOptions): string {
  const path = /^[\w./-]+$/u.test(configPath) ? configPath : `'${configPath.replaceAll("'", "'\\''")}'`;
  const flags = developmentDirectory === undefined ? '' : ' --development';
  return `bao-kms-provider ${name} --config ${path}${flags} --versions ${versions}`;
}

type ChangeCommand = Extract<RotationCommand, { readonly apply: Apply | undefined }>;

async function changeVersions(
  command: ChangeCommand,
  passed: PassedTask,
  options: RotationOptions,
  deps: RotationDeps,
): Promise<number> {
  const { store, pair } = passed;
  const before = store.current;
  if (before === undefined) throw refused('there is no registry state on this node');
  if (pair.kind === 'accepted' && pair.writeCheckpoint === 'missing') {
    throw refused('the state has no checkpoint; start the provider once, it recreates and reports it');
  }
  checkExpected(command.apply, before);
  const transition = await decideTransition(command, before, (state) => ask(passed, state, options, deps));
  if (command.apply !== undefined) await apply(transition, before, passed);
  deps.print(printReport(transitionReport(command, before, transition), options.output));
  return 0;
}

function checkExpected(wanted: Apply | undefined, state: RegistryState): void {
  if (wanted === undefined || wanted.expectedStateHash === state.currentHash) return;
  throw refused('the state has another hash than --expected-state-hash: it changed since the plan; make a new one');
}

/** Only what the live key serves afterwards, or, to forget, what it contradicts now. */
async function decideTransition(
  command: ChangeCommand,
  state: RegistryState,
  askAbout: (state: RegistryState) => Promise<ReportMessage>,
): Promise<Transition> {
  if (command.name === 'forget-versions') {
    const live = await askAbout(state);
    const isRead = live.metadata === 'pass' || live.contradictedVersions !== undefined;
    if (!isRead)
      throw refused(`the Transit key could not be read, or is not acceptable: ${errorOf(live) ?? 'unknown'}`);
    return forgetVersions(state, command.versions, live.contradictedVersions ?? []);
  }
  const transition =
    command.name === 'retire-versions'
      ? retireVersions(state, command.beforeVersion)
      : restoreVersions(state, command.versions);
  const live = await askAbout(transition.next);
  if (live.metadata === 'pass') return transition;
  throw refused(
    `the Transit key does not serve what would remain, or could not be read: ${errorOf(live) ?? 'unknown'}`,
  );
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

function transitionReport(
  command: ChangeCommand,
  before: RegistryState,
  { next, removed, restored, forgotten, waiting }: Transition,
): Report {
  const versions = (snapshots: readonly Snapshot[]) =>
    snapshots.map(({ transitVersion, kubernetesKeyId }) => ({ transitVersion, keyIdHash: hashText(kubernetesKeyId) }));
  const members: Record<string, Member> = {
    operation: command.name,
    applied: command.apply !== undefined,
    beforeVersion: command.name === 'retire-versions' ? command.beforeVersion : 0,
    stateHash: before.currentHash,
    nextStateHash: next.currentHash,
    nextGeneration: next.generation,
    activeKeyIdHash: hashText(before.activeKeyId),
    removedVersions: versions(removed),
    restoredVersions: versions(restored),
    forgottenVersions: versions(forgotten),
    waitingVersions: versions(waiting === undefined ? [] : [waiting]),
    limitations: [limitation],
  };
  return { members, always: Object.keys(members) };
}

/** 3 for configuration and credentials, 2 for usage, 1 for a plugin that did not report, else 4 (spec/supervisor 4.2). */
export function exitCodeOf(error: unknown): number {
  if (error instanceof GateRefusal) return error.exitCode === 3 ? 3 : 4;
  const errorClass = errorClassOf(error);
  return errorClass === 'task_failed' || errorClass === 'internal' ? 1 : 4;
}
