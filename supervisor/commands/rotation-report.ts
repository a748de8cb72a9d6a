// The report of `rotation-plan` and `verify-rotation`: what this node knows, what OpenBao says, and what comes next (spec/supervisor 4.3).

import { exitCodes } from '../../shared/errors/exit-codes.ts';
import { isLarge } from '../../shared/registry/belief.ts';
import type { RegistryState } from '../../shared/registry/state.ts';
import { activeSnapshot } from '../../shared/registry/successor.ts';
import { hashText } from '../../shared/text/hash.ts';
import { type PassedTask, passTaskGate } from '../gate/gate.ts';
import type { CommandDeps, Invocation } from './command.ts';
import { askAboutKey, errorOf, type KeyReport } from './key-question.ts';
import { type Member, printReport, type Report } from './report.ts';
import type { CommandName } from './table.ts';

export const limitation =
  'the local registry and live metadata cannot prove that every object and every retained backup was rewritten';

/**
 * Prints the report, also when it then fails.
 *
 * @returns 0, or 4 when live metadata could not be read or the rights of the token are not the right ones
 * @throws ProviderError `config_invalid`, `task_failed` and those of the gate
 */
export async function describeRotation(invocation: Invocation, deps: CommandDeps): Promise<number> {
  const { configPath, options, output } = invocation;
  const passed = await passTaskGate(configPath, options, deps, false);
  const state = passed.store.current;
  const live = await askAboutKey(passed, state, options, deps);
  deps.print(printReport(rotationReport(invocation, passed, live), output));
  if (live.metadata === 'fail' || live.rightFindings?.length !== 0) return exitCodes.checkFailed;
  const isUsable = state !== undefined || live.bootstrap?.isEligible === true;
  return isUsable ? exitCodes.success : exitCodes.checkFailed;
}

const checkpointStatus = { no: 'current', behind: 'behind', missing: 'missing' } as const;

function rotationReport(invocation: Invocation, passed: PassedTask, live: KeyReport): Report {
  const { name } = invocation;
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
    warnings: warningsOf(live, state, invocation),
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

function failureKindOf({ metadata, isUnreachable, rightFindings }: KeyReport): string | undefined {
  if (metadata === 'fail') return isUnreachable === true ? 'unreachable' : 'check';
  return rightFindings?.length === 0 ? undefined : 'check';
}

function rotationStateOf(state: RegistryState | undefined, live: KeyReport): 'active' | 'pending' | 'unknown' {
  const isPending = state?.snapshots.some((one) => one.state === 'pending') === true || live.pending !== undefined;
  if (isPending) return 'pending';
  return state !== undefined || live.bootstrap?.isEligible === true ? 'active' : 'unknown';
}

const warningTexts: Readonly<Record<string, string>> = {
  auto_rotate_period: 'OpenBao rotates this key by itself: promotions follow without anybody deciding',
  imported_key: 'the key material was imported: copies may exist outside OpenBao',
};

function warningsOf(live: KeyReport, state: RegistryState | undefined, invocation: Invocation): readonly string[] {
  const known = (live.warnings ?? []).map((code) => warningTexts[code] ?? code);
  if (live.isUpsertDisabled === false) known.push('the mount makes keys on demand: set disable_upsert=true');
  if (live.pending?.isSuperseding === true) {
    known.push(
      'this candidate supersedes another one that was still waiting: two rotations before the nodes converged',
    );
  }
  const { contradictedVersions = [], correctedFirstAtUnix, retiredCandidate } = live;
  if (correctedFirstAtUnix !== undefined) {
    const line = commandLine('forget-versions', [1, ...contradictedVersions].join(','), invocation);
    const found = 'OpenBao made version 1 at another time than the only record here says';
    known.push(`${found}; if this key was never deleted and created again, plan the way back: ${line}`);
  } else if (contradictedVersions.length > 0) {
    const versions = contradictedVersions.join(',');
    const line = commandLine('forget-versions', versions, invocation);
    known.push(`OpenBao does not have version ${versions} as it is recorded here; plan the way back: ${line}`);
  }
  if (retiredCandidate !== undefined) {
    const line = commandLine('restore-versions', String(retiredCandidate), invocation);
    known.push(`version ${retiredCandidate} was retired here before it was active; plan its return: ${line}`);
  }
  if (state !== undefined && isLarge(state)) {
    known.push('the registry is nearly full: when it is, newer versions of the key are no longer taken');
  }
  return known;
}

/** To be copied into a shell. */
function commandLine(name: CommandName, versions: string, { configPath, options }: Invocation): string {
  const path = /^[\w./-]+$/u.test(configPath) ? configPath : `'${configPath.replaceAll("'", "'\\''")}'`;
  const flags = options.developmentDirectory === undefined ? '' : ' --development';
  return `bao-kms-provider ${name} --config ${path}${flags} --versions ${versions}`;
}
