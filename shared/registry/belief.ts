// What the supervisor believes of a proposed state beyond its succession: a plugin that was taken over can name versions that
// OpenBao never had, and times that never were. Pure. The honest plugin builds nothing that is refused here (`npm run explore`
// runs with these rules on); what a lie within the rules leaves behind, `forget-versions` and `restore-versions` mend.

import { ProviderError } from '../errors/error.ts';
import { encodeState, maxStateBytes, type RegistryState, type Snapshot } from './state.ts';
import { activeSnapshot } from './successor.ts';

/** New records in one commit: a jump over more versions is taken in several. */
export const maxNewRecords = 8; // control: belief.max-new-records
/** Records of a state: a rotation every day for eleven years. */
export const maxRecords = 4_096;
/** By how much the highest version may grow in one commit. */
export const maxVersionJump = 1_000;
/** Above this a state is called large, records; the rest is the time to act. */
const largeRecords = 3_072;
/** Above this a state is called large, bytes. */
const largeBytes = 3 * 1024 * 1024;
/** How far ahead of this node's clock a time may stand, seconds: more than clocks of one cluster differ by. */
const aheadSeconds = 24 * 60 * 60;
/** How long before its proposal a first state may have been made, seconds: what was wrong from the start is told by this time. */
const firstBehindSeconds = 300;

/**
 * Refuses a proposal that no honest plugin makes, whatever OpenBao says to it. The caller has checked that it is a legal
 * successor, and that a promotion has waited.
 *
 * @param nowUnix  this node's clock, Unix seconds
 * @throws ProviderError `state_rollback`
 */
export function checkBelief(predecessor: RegistryState | undefined, next: RegistryState, nowUnix: number): void {
  const isAhead = timesAhead(predecessor, nowUnix);
  if (predecessor === undefined) return checkFirst(next, isAhead, nowUnix);
  if (next.snapshots.length > maxRecords) throw unbelievable('holds more than 4096 records');
  // control: belief.version-jump
  if (highestVersion(next) - highestVersion(predecessor) > maxVersionJump) {
    throw unbelievable('raises the highest version by more than 1000');
  }
  const pending = next.snapshots.filter(({ state }) => state === 'pending');
  if (pending.length > 1) throw unbelievable('has two pending versions'); // control: belief.one-pending
  const before = new Map(predecessor.snapshots.map((one) => [one.kubernetesKeyId, one]));
  const added = next.snapshots.filter(({ kubernetesKeyId }) => !before.has(kubernetesKeyId));
  if (added.length > maxNewRecords) throw unbelievable('adds more than 8 records'); // control: belief.added
  for (const one of added) checkAdded(one, predecessor, pending[0], isAhead);
  for (const now of next.snapshots) {
    const was = before.get(now.kubernetesKeyId);
    if (was !== undefined) checkKept(was, now, pending[0], isAhead);
  }
}

/**
 * Whether this node's clock stands before a time in its own state: no time was accepted that lay further ahead than a day, so
 * the clock was set back since. When OpenBao made a version cannot be judged then.
 */
export function isClockBehind(predecessor: RegistryState | undefined, nowUnix: number): boolean {
  return latestTime(predecessor) > nowUnix + aheadSeconds;
}

/** The latest time that this node noted itself; 0: none. */
function latestTime(state: RegistryState | undefined): number {
  const times = (state?.snapshots ?? []).map((one) =>
    Math.max(one.observedAtUnix, one.stableAtUnix, one.promotedAtUnix),
  );
  return times.reduce((latest, time) => Math.max(latest, time), 0);
}

/** Whether the creation time of a version may not be believed yet. */
export function aheadOf(predecessor: RegistryState | undefined, nowUnix: number): (timeUnix: number) => boolean {
  const isBehind = isClockBehind(predecessor, nowUnix);
  return (timeUnix) => !isBehind && timeUnix > nowUnix + aheadSeconds;
}

/** Whether a state may be proposed and written at all, by its size. */
export function isWithinSize(state: RegistryState): boolean {
  return state.snapshots.length <= maxRecords && bytesOf(state) <= maxStateBytes;
}

/** Whether a state comes near to what it may hold at most. */
export function isLarge(state: RegistryState): boolean {
  return state.snapshots.length > largeRecords || bytesOf(state) > largeBytes;
}

function bytesOf(state: RegistryState): number {
  return Buffer.byteLength(encodeState(state), 'utf8');
}

export function highestVersion(state: RegistryState): number {
  return state.snapshots.reduce((highest, { transitVersion }) => Math.max(highest, transitVersion), 0);
}

type IsAhead = {
  readonly created: (timeUnix: number) => boolean;
  readonly noted: (timeUnix: number) => boolean;
};

/**
 * A time that this node notes is never later than its clock and the times that it noted before, also when the clock was set back:
 * else one second back, after a lie of a day, would let a plugin name any time, and every time after it.
 */
function timesAhead(predecessor: RegistryState | undefined, nowUnix: number): IsAhead {
  const latestUnix = Math.max(nowUnix + aheadSeconds, latestTime(predecessor));
  // control: belief.noted-ahead
  return { created: aheadOf(predecessor, nowUnix), noted: (timeUnix) => timeUnix > latestUnix };
}

/** Made from metadata: seen now, promoted at the same moment. */
function checkFirst(next: RegistryState, isAhead: IsAhead, nowUnix: number): void {
  const only = activeSnapshot(next);
  const { observedAtUnix, promotedAtUnix, stableObservationCount, stableAtUnix } = only;
  // control: belief.first-seen
  const isSeenNow = observedAtUnix > 0 && observedAtUnix >= nowUnix - firstBehindSeconds;
  const isFresh = isSeenNow && promotedAtUnix > 0 && stableObservationCount === 0 && stableAtUnix === 0;
  if (next.snapshots.length !== 1 || only.transitVersion !== 1 || !isFresh) throw unbelievable('is no first state');
  checkTimes(only, isAhead);
}

function checkAdded(one: Snapshot, predecessor: RegistryState, pending: Snapshot | undefined, isAhead: IsAhead): void {
  const active = activeSnapshot(predecessor);
  const { transitVersion: version } = one;
  if (one.promotedAtUnix !== 0 || one.observedAtUnix === 0) throw unbelievable('adds a record with a history');
  if (one.state === 'pending') {
    if (version <= highestVersion(predecessor)) throw unbelievable('adds a pending version that is not the newest');
    if (one.stableObservationCount > 1) throw unbelievable('counts observations that were not made');
  } else {
    const isBetween = version > active.transitVersion && version < (pending?.transitVersion ?? 0);
    // control: belief.new-between
    if (one.state !== 'retired' || !isBetween) throw unbelievable('adds a record that no jump leaves behind');
    if (one.stableObservationCount !== 0) throw unbelievable('counts observations that were not made');
    const isRecorded = predecessor.snapshots.some(({ transitVersion }) => transitVersion === version);
    if (isRecorded) throw unbelievable('adds a version that is recorded already');
  }
  // control: belief.newer-than-active
  if (one.transitVersionCreatedAtUnix < active.transitVersionCreatedAtUnix) {
    throw unbelievable('adds a version that is older than the active one');
  }
  checkTimes(one, isAhead);
}

function checkTimes(one: Snapshot, isAhead: IsAhead): void {
  const noted = [one.observedAtUnix, one.stableAtUnix, one.promotedAtUnix];
  const { transitVersionCreatedAtUnix: createdUnix } = one;
  // control: belief.times
  if (isAhead.created(createdUnix) || noted.some(isAhead.noted))
    throw unbelievable('names a time that lies more than a day ahead of the clock of this node');
}

function checkKept(was: Snapshot, now: Snapshot, pending: Snapshot | undefined, isAhead: IsAhead): void {
  if (was.state === 'pending') return checkWaiting(was, now, pending, isAhead);
  const isRetiring = was.state === 'active' && now.state === 'retired';
  const expected = isRetiring ? { ...was, state: 'retired', stableObservationCount: 0, stableAtUnix: 0 } : was;
  if (!isSame({ ...expected }, now)) throw unbelievable('rewrites a record'); // control: belief.rewritten
}

/** A pending record is counted, promoted when it was stable before, or gives way to a newer one. */
function checkWaiting(was: Snapshot, now: Snapshot, pending: Snapshot | undefined, isAhead: IsAhead): void {
  const counted = now.stableObservationCount - was.stableObservationCount;
  if (now.state === 'retired') {
    const isSuperseded = pending !== undefined && pending.transitVersion > was.transitVersion;
    // control: belief.superseded
    if (!isSuperseded || !isSame({ ...was, state: 'retired' }, now)) throw unbelievable('gives up a pending version');
    return;
  }
  const isSeenKept = was.observedAtUnix === 0 || was.observedAtUnix === now.observedAtUnix;
  const isStableKept = was.stableAtUnix === 0 || was.stableAtUnix === now.stableAtUnix;
  if (!isSeenKept || !isStableKept) throw unbelievable('rewrites a record');
  // control: belief.counts
  if (counted < 0 || counted > 1) throw unbelievable('counts observations that were not made');
  if (now.state === 'active') {
    if (was.stableAtUnix === 0) throw unbelievable('promotes a version that was not stable');
    if (now.promotedAtUnix === 0) throw unbelievable('promotes a version at no time');
  } else if (now.promotedAtUnix !== was.promotedAtUnix) {
    throw unbelievable('rewrites a record');
  }
  checkTimes({ ...now, transitVersionCreatedAtUnix: 0 }, isAhead);
}

/** Member by member: of a full registry this is done 4 096 times a save. */
function isSame(one: object, other: object): boolean {
  const members = new Map<string, unknown>(Object.entries(other));
  const ours = Object.entries(one);
  return ours.length === members.size && ours.every(([name, value]) => members.get(name) === value);
}

function unbelievable(what: string): ProviderError {
  return new ProviderError('state_rollback', `the proposed state ${what}`);
}
