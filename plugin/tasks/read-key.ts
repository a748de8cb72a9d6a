// The task `read_key`: logs in, reads the mount's upsert policy and the key's metadata once, judges them against the state it
// was given, and reports. Writes nothing, encrypts nothing, opens no listener.

import type { Confinement, CredentialMessage, PluginMessage, StartMessage } from '../../shared/channel/messages.ts';
import type { ReportOf } from '../../shared/channel/tasks.ts';
import { type Config, requireConfig } from '../../shared/config/config.ts';
import { errorChain } from '../../shared/errors/error.ts';
import { policyOf } from '../../shared/errors/policy.ts';
import { deriveFingerprint } from '../../shared/registry/fingerprint.ts';
import { parseState, type RegistryState } from '../../shared/registry/state.ts';
import { hashText } from '../../shared/text/hash.ts';
import type { Clock } from '../../shared/time/clock.ts';
import {
  checkProfile,
  checkServed,
  contradictedVersions,
  correctedFirst,
  type KeyProfile,
  profileWarnings,
} from '../keys/profile.ts';
import { advance, bootstrap } from '../keys/rotation.ts';
import { OpenBao } from '../openbao.ts';
import { isDenial } from '../probes/probe-failure.ts';

type KeyReport = ReportOf<'read_key'>;

export type TaskDeps = {
  readonly clock: Clock;
  readonly random: () => number;
  readonly send: (message: PluginMessage) => void;
  readonly confinement: () => { readonly confinement: Confinement; readonly isPermissionModelOn: boolean };
};

/** Versions that one report names. */
const maxTold = 256;

/** Sends exactly one report; never throws. */
export async function runReadKey(
  start: StartMessage,
  credentials: readonly CredentialMessage[],
  deps: TaskDeps,
): Promise<void> {
  deps.send({ kind: 'ready', ...deps.confinement() });
  deps.send(await report(start, credentials, deps));
}

async function report(
  start: StartMessage,
  credentials: readonly CredentialMessage[],
  deps: TaskDeps,
): Promise<KeyReport> {
  let read: Partial<KeyReport> = {};
  let openbao: OpenBao | undefined;
  try {
    const config = requireConfig(start.config, { overrides: new Map(Object.entries(start.overrides)) });
    const state = start.state === undefined ? undefined : parseState(start.state);
    openbao = await connect(start, config, credentials, deps);
    const isUpsertDisabled = await openbao.transit.readUpsertDisabled();
    const profile = await openbao.transit.readKey();
    const nowUnix = Math.floor(deps.clock.wallMs() / 1000);
    read = { latestVersion: profile.latestVersion, isUpsertDisabled, warnings: profileWarnings(profile) };
    read = { ...read, ...(await lookAtRights(openbao)) };
    if (state === undefined) checkProfile(profile, config.identity.transitKeyName);
    if (state === undefined)
      return {
        kind: 'report',
        task: 'read_key',
        metadata: 'pass',
        ...read,
        ...judgeBootstrap(config, profile, nowUnix),
      };
    const contradicted = contradictedVersions(state.snapshots, profile).slice(0, maxTold);
    if (contradicted.length > 0) read = { ...read, contradictedVersions: contradicted };
    const correctedFirstAtUnix = correctedFirst(state.snapshots, profile);
    if (correctedFirstAtUnix !== undefined) read = { ...read, correctedFirstAtUnix };
    checkServed(state.snapshots, state.activeKeyId, profile, config.identity.transitKeyName);
    return {
      kind: 'report',
      task: 'read_key',
      metadata: 'pass',
      ...read,
      ...findPending(config, state, profile, nowUnix),
    };
  } catch (error) {
    const rights = openbao !== undefined && isDenial(error) ? await lookAtRights(openbao) : {};
    return { kind: 'report', task: 'read_key', metadata: 'fail', ...read, ...rights, ...failureOf(error) };
  }
}

async function connect(
  start: StartMessage,
  config: Config,
  credentials: readonly CredentialMessage[],
  deps: TaskDeps,
): Promise<OpenBao> {
  const openbao = new OpenBao({
    config,
    version: start.build.version,
    clock: deps.clock,
    random: deps.random,
    send: deps.send,
    recordRequest: () => {},
    recordToken: () => {},
    stopped: new AbortController().signal,
  });
  for (const message of credentials) openbao.credential(message);
  return openbao;
}

/** A policy that does not allow the question is a finding; for everything else the reads after it say what is wrong. */
async function lookAtRights(openbao: OpenBao): Promise<Pick<KeyReport, 'rightFindings'>> {
  try {
    return { rightFindings: [...(await openbao.readRights())] };
  } catch (error) {
    return isDenial(error) ? { rightFindings: ['missing_capabilities'] } : {};
  }
}

/** What a first start would make of this key. */
function judgeBootstrap(config: Config, profile: KeyProfile, nowUnix: number): Pick<KeyReport, 'bootstrap'> {
  try {
    const { identity } = config;
    const state = bootstrap(identity, deriveFingerprint(identity), profile, identity.transitKeyName, nowUnix);
    return { bootstrap: { isEligible: true, keyIdHash: hashText(state.activeKeyId) } };
  } catch (error) {
    const [first] = errorChain(error);
    return { bootstrap: { isEligible: false, reason: first?.message.slice(0, 256) ?? 'internal' } };
  }
}

function findPending(
  config: Config,
  state: RegistryState,
  profile: KeyProfile,
  nowUnix: number,
): Pick<KeyReport, 'pending'> {
  const found = advance({
    state,
    profile,
    keyName: config.identity.transitKeyName,
    nowUnix,
    mode: 'discover',
    stableCount: config.rotation.requireStableObservationCount,
    isCounted: false,
    promotable: undefined,
    rejectVersionRollback: config.rotation.rejectVersionRollback,
  });
  const isPending = ({ state: kind }: { readonly state: string }) => kind === 'pending';
  const pending = found.state.snapshots.find(isPending);
  const before = state.snapshots.find(isPending);
  if (pending === undefined) return {};
  const { kubernetesKeyId, transitVersion, stableObservationCount, stableAtUnix } = pending;
  const isSuperseding = before !== undefined && before.kubernetesKeyId !== kubernetesKeyId;
  return {
    pending: {
      keyIdHash: hashText(kubernetesKeyId),
      transitVersion,
      stableObservationCount,
      stableAtUnix,
      isSuperseding,
    },
  };
}

function failureOf(error: unknown): Partial<KeyReport> {
  const { finding, transitKeyVersion } = errorChain(error)[0]?.facts ?? {};
  const isRetired = finding === 'candidate_retired' && typeof transitKeyVersion === 'number';
  return {
    errorClass: policyOf(error).probeClass,
    isUnreachable: policyOf(error).evidence === 'no_answer',
    ...(typeof finding === 'string' ? { finding } : {}),
    ...(isRetired ? { retiredCandidate: transitKeyVersion } : {}),
  };
}
