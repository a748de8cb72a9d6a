// Whether an unsaved state differs from the saved one in nothing but counting (spec/state 4.5).

import type { RegistryState, Snapshot } from '../../shared/registry/state.ts';

/** Same records in the same order; only counts and stable times of pending records moved, and at least one did. */
export function isBookkeepingOnly(before: RegistryState, next: RegistryState): boolean {
  if (before.activeKeyId !== next.activeKeyId || before.snapshots.length !== next.snapshots.length) return false;
  const pairs = before.snapshots.map((snapshot, index) => [snapshot, next.snapshots[index]] as const);
  return (
    pairs.every(([was, now]) => now !== undefined && isCounting(was, now)) && pairs.some(([was, now]) => was !== now)
  );
}

function isCounting(was: Snapshot, now: Snapshot): boolean {
  const { stableObservationCount: countBefore, stableAtUnix: stableBefore, ...restBefore } = was;
  const { stableObservationCount: countAfter, stableAtUnix: stableAfter, ...restAfter } = now;
  const isRestSame = JSON.stringify(Object.entries(restBefore)) === JSON.stringify(Object.entries(restAfter));
  if (!isRestSame) return false;
  if (countBefore === countAfter && stableBefore === stableAfter) return true;
  return was.state === 'pending' && countAfter >= countBefore && (stableBefore === 0 || stableAfter === stableBefore);
}
