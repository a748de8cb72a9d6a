// A plugin that was taken over, once: from every state of two versions it proposes whatever the supervisor's rules let pass, out
// of a bounded alphabet of versions, times, states and counts. Then an honest plugin takes its place, with time and an OpenBao
// that tells the truth. It must come to serve the latest version, if need be after the one command that its refusal names.

import { contradictedVersions, correctedFirst, type KeyProfile } from '../../plugin/keys/profile.ts';
import { advance } from '../../plugin/keys/rotation.ts';
import { ProviderError } from '../../shared/errors/error.ts';
import { checkBelief } from '../../shared/registry/belief.ts';
import { checkpointOf } from '../../shared/registry/checkpoint.ts';
import { type RegistryState, type Snapshot, type SnapshotState, sealState } from '../../shared/registry/state.ts';
import { checkPromotion, checkSuccessor, stableKeyId } from '../../shared/registry/successor.ts';
import { forgetVersions, restoreVersions } from '../../supervisor/commands/transition.ts';
import { content, createdAtUnix, nextState, profile as profileOf, snapshot } from '../support/vectors.ts';
import { encryptsWith, type Node, nodeKey, settings, stepsOf } from './node.ts';

const nowUnix = 1_760_000_000;
const delayMs = settings.activationDelayMs;
const seenUnix = 1_750_000_100;
const aheadUnix = nowUnix + 23 * 3_600;

export type HostileOutcome = {
  /** Tried, and passed by the rules. */
  readonly tried: number;
  readonly passed: number;
  readonly served: number;
  readonly repaired: number;
  /** What an honest plugin could not get out of, one line each. */
  readonly stuck: readonly string[];
};

/** Every state that an honest node has while a key has one or two versions. */
function statesOfTwo(): readonly RegistryState[] {
  const first = sealState(content());
  const pendings = [
    { stableObservationCount: 0 },
    { stableObservationCount: 1 },
    { stableObservationCount: 2, stableAtUnix: seenUnix + 60 },
  ].map((counted) => nextState(first, [snapshot(1), snapshot(2, { state: 'pending', promotedAtUnix: 0, ...counted })]));
  const [, , stable = first] = pendings;
  const two = snapshot(2, { stableObservationCount: 2, stableAtUnix: seenUnix + 60, promotedAtUnix: seenUnix + 200 });
  const promoted = nextState(stable, [two, snapshot(1, { state: 'retired' })]);
  const removed = nextState(promoted, [two, snapshot(1, { state: 'removed' })]);
  return [first, ...pendings, promoted, removed];
}

const kinds: readonly SnapshotState[] = ['active', 'pending', 'retired', 'removed'];

/** What can be said of a record that is there. */
function variantsOf(one: Snapshot): readonly Snapshot[] {
  const found: Snapshot[] = [];
  for (const state of kinds) {
    for (const stableObservationCount of new Set([
      0,
      one.stableObservationCount,
      one.stableObservationCount + 1,
      100,
    ])) {
      for (const stableAtUnix of new Set([0, one.stableAtUnix, nowUnix, aheadUnix, nowUnix + 1e9])) {
        for (const promotedAtUnix of new Set([0, one.promotedAtUnix, nowUnix, aheadUnix])) {
          for (const observedAtUnix of new Set([one.observedAtUnix, nowUnix])) {
            found.push({ ...one, state, stableObservationCount, stableAtUnix, promotedAtUnix, observedAtUnix });
          }
        }
      }
    }
  }
  return found;
}

const versions = [1, 2, 3, 4, 999, 1_002, 2_147_483_647];

const pairedVersions = [2, 3, 4, 999];

/** Records that were not there: true ones, and such as OpenBao never had. */
function additions(): readonly Snapshot[] {
  const found: Snapshot[] = [];
  for (const version of versions) {
    const truly = createdAtUnix + version - 1;
    for (const transitVersionCreatedAtUnix of [truly, createdAtUnix - 1, truly + 1, aheadUnix, nowUnix + 1e6]) {
      for (const state of kinds) {
        for (const [stableObservationCount, stableAtUnix] of [
          [0, 0],
          [1, nowUnix],
          [2, nowUnix],
        ] as const) {
          for (const promotedAtUnix of [0, nowUnix]) {
            const times = { observedAtUnix: nowUnix, stableObservationCount, stableAtUnix, promotedAtUnix };
            found.push(snapshot(version, { transitVersionCreatedAtUnix, state, ...times }));
          }
        }
      }
    }
  }
  return found;
}

function* proposalsOf(predecessor: RegistryState): Generator<readonly Snapshot[]> {
  const records = predecessor.snapshots;
  const [first, second] = records;
  if (first === undefined) return;
  const states = (one: Snapshot) => kinds.map((state) => ({ ...one, state }));
  if (second === undefined) yield* variantsOf(first).map((one) => [one]);
  else {
    yield* pairs(variantsOf(first), states(second));
    yield* pairs(states(first), variantsOf(second));
    // A promotion changes both.
    const retired = { state: 'retired', stableObservationCount: 0, stableAtUnix: 0 } as const;
    yield* pairs([{ ...first, ...retired }], variantsOf(second));
    yield* pairs(variantsOf(first), [{ ...second, ...retired }]);
  }
  const added = additions();
  const kept = second === undefined ? states(first).map((one) => [one]) : pairs(states(first), states(second));
  for (const before of kept) for (const one of added) yield [...before, one];
  const plain = added.filter(
    ({ stableObservationCount, promotedAtUnix, state }) =>
      stableObservationCount === 0 && promotedAtUnix === 0 && (state === 'pending' || state === 'retired'),
  );
  const few = plain.filter(({ transitVersion }) => pairedVersions.includes(transitVersion));
  for (const before of kept) for (const pair of pairs(few, few)) yield [...before, ...pair];
}

/** First states: made now or long ago, of a key that was made at another time than OpenBao says. */
function firstProposals(): readonly (readonly Snapshot[])[] {
  const found: Snapshot[] = [];
  for (const transitVersion of [1, 2]) {
    for (const transitVersionCreatedAtUnix of firstTimes) {
      for (const observedAtUnix of [1, nowUnix - 300, nowUnix, aheadUnix]) {
        for (const promotedAtUnix of [0, observedAtUnix, aheadUnix]) {
          const times = { transitVersionCreatedAtUnix, observedAtUnix, promotedAtUnix };
          found.push(...variantsOf(snapshot(transitVersion, times)));
        }
      }
    }
  }
  return found.map((one) => [one]);
}

const firstTimes = [createdAtUnix, createdAtUnix - 1, createdAtUnix + 1, 1, nowUnix, aheadUnix, nowUnix + 1e6];

/** What was told of version 1 when it was first recorded, and passed. */
function falseFirsts(): readonly RegistryState[] {
  const times = { observedAtUnix: nowUnix, promotedAtUnix: nowUnix };
  return [createdAtUnix - 1, aheadUnix].map((transitVersionCreatedAtUnix) =>
    sealState(content({ snapshots: [snapshot(1, { transitVersionCreatedAtUnix, ...times })] })),
  );
}

function pairs<T>(ones: readonly T[], others: readonly T[]): T[][] {
  return ones.flatMap((one) => others.filter((other) => other !== one).map((other) => [one, other]));
}

/** @returns the state that the supervisor would write; undefined: refused */
function judged(
  predecessor: RegistryState | undefined,
  records: readonly Snapshot[],
  believe: typeof checkBelief,
): RegistryState | undefined {
  if (records.filter(({ state }) => state === 'active').length !== 1) return undefined;
  const keyId = stableKeyId(predecessor);
  try {
    // Belief looks at the records only, and refuses most: hashes are for the rest.
    believe(predecessor, { ...content({ snapshots: records }), currentHash: '' }, nowUnix);
    const next =
      predecessor === undefined ? sealState(content({ snapshots: records })) : nextState(predecessor, records);
    checkSuccessor(predecessor, next);
    // It has waited for as long as it takes.
    checkPromotion(predecessor, next, keyId === undefined ? undefined : { keyId, elapsedMs: delayMs }, delayMs);
    return next;
  } catch (error) {
    if (error instanceof ProviderError) return undefined;
    throw error;
  }
}

const enoughRounds = 16;

/** Starts, probes and time, without a fault. */
function serves(state: RegistryState, profile: KeyProfile): boolean {
  let node: Node = {
    disk: { state, checkpoint: checkpointOf(state) },
    supervisor: { current: state, attempted: undefined, known: undefined },
    plugin: undefined,
    reported: 0,
  };
  let before = '';
  for (let round = 0; round < enoughRounds && nodeKey(node) !== before; round += 1) {
    before = nodeKey(node);
    for (const wanted of ['plugin started', 'advance', 'deep probe', 'half of the delay passes']) {
      const step = stepsOf(node, profile).find(({ label, faults }) => faults === 0 && label.startsWith(wanted));
      if (step !== undefined) node = step.node;
    }
    if (encryptsWith(node)?.transitVersion === profile.latestVersion) return true;
  }
  return false;
}

/** Does what the refusal says, as an operator would. @returns the state afterwards; undefined: it says nothing */
function repair(state: RegistryState, profile: KeyProfile): RegistryState | undefined {
  const command = refusalOf(state, profile)?.facts['repair'];
  const [, name, list = ''] = /^bao-kms-provider (\S+) --versions (\S+)$/u.exec(String(command)) ?? [];
  try {
    if (name === 'restore-versions') return restoreVersions(state, list.split(',')).next;
    if (name !== 'forget-versions') return undefined;
    const { snapshots } = state;
    const contradicted = contradictedVersions(snapshots, profile);
    const live = { contradicted, correctedFirstAtUnix: correctedFirst(snapshots, profile) };
    return forgetVersions(state, list.split(',').map(Number), live).next;
  } catch (error) {
    if (error instanceof ProviderError) return undefined;
    throw error;
  }
}

function refusalOf(state: RegistryState, profile: KeyProfile): ProviderError | undefined {
  try {
    const { keyName, stableCount, rejectVersionRollback } = settings;
    const fixed = { mode: 'advance', nowUnix, isCounted: true, promotable: undefined } as const;
    advance({ state, profile, keyName, stableCount, rejectVersionRollback, ...fixed });
    return undefined;
  } catch (error) {
    return error as ProviderError;
  }
}

const brief = (state: RegistryState | undefined) =>
  (state?.snapshots ?? [])
    .map(
      (one) => `${one.state} ${one.transitVersion} of ${one.transitVersionCreatedAtUnix} ${one.stableObservationCount}`,
    )
    .join(', ');

/**
 * @param believe  the rules of belief; none at all shows what they keep out
 * @param enough  ends when so many proposals could not be got out of
 */
export function exploreHostile(
  believe: typeof checkBelief = checkBelief,
  enough = Number.POSITIVE_INFINITY,
): HostileOutcome {
  const seen = new Set<string>();
  const stuck: string[] = [];
  let [tried, served, repaired] = [0, 0, 0];
  for (const predecessor of [undefined, ...statesOfTwo(), ...falseFirsts()]) {
    for (const records of predecessor === undefined ? firstProposals() : proposalsOf(predecessor)) {
      tried += 1;
      const next = judged(predecessor, records, believe);
      if (next === undefined || stuck.length >= enough) continue;
      const key = JSON.stringify(next.snapshots);
      if (seen.has(key)) continue;
      seen.add(key);
      const least = (predecessor?.snapshots ?? []).reduce((most, one) => Math.max(most, one.transitVersion), 1);
      for (let latest = least; latest <= 3; latest += 1) {
        const profile = profileOf(latest);
        if (serves(next, profile)) {
          served += 1;
          continue;
        }
        const mended = repair(next, profile);
        if (mended !== undefined && serves(mended, profile)) repaired += 1;
        else stuck.push(`${brief(predecessor)} → ${brief(next)} with ${latest}: ${refusalOf(next, profile)?.message}`);
      }
    }
  }
  return { tried, passed: seen.size, served, repaired, stuck };
}
