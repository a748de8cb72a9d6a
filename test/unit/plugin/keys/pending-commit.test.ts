// Whether an unsaved state differs from the saved one in counting only; anything else has to be on disk first.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { isBookkeepingOnly } from '../../../../plugin/keys/pending-commit.ts';
import type { Snapshot } from '../../../../shared/registry/state.ts';
import { firstState, nextState, snapshot } from '../../../support/vectors.ts';

const pending = (change: Partial<Snapshot> = {}) =>
  snapshot(2, { state: 'pending', promotedAtUnix: 0, stableObservationCount: 2, ...change });
const before = nextState(firstState(), [snapshot(1), pending()]);
const isOnly = (...records: Snapshot[]) => isBookkeepingOnly(before, nextState(before, records));

for (const [what, records] of [
  ['a count that rose', [snapshot(1), pending({ stableObservationCount: 3 })]],
  [
    'a count that rose to its threshold',
    [snapshot(1), pending({ stableObservationCount: 3, stableAtUnix: 1_750_000_200 })],
  ],
] as const) {
  test(`${what} is counting`, () => assert.is(isOnly(...records), true));
}

for (const [what, records] of [
  ['a count that fell', [snapshot(1), pending({ stableObservationCount: 1 })]],
  ['a count of a record that does not wait', [snapshot(1, { stableObservationCount: 1 }), pending()]],
  ['another time of observation', [snapshot(1), pending({ observedAtUnix: 1_750_000_101 })]],
  ['a record more', [snapshot(1), pending({ stableObservationCount: 3 }), snapshot(3, { state: 'retired' })]],
  ['a record less', [snapshot(1)]],
  ['a promotion', [snapshot(1, { state: 'retired' }), pending({ state: 'active', promotedAtUnix: 1_750_000_300 })]],
] as const) {
  test(`${what} is more than counting`, () => assert.is(isOnly(...records), false));
}

test('a stable time that was known and changes is more than counting, whichever way', () => {
  const known = nextState(firstState(), [snapshot(1), pending({ stableAtUnix: 1_750_000_200 })]);
  for (const stableAtUnix of [0, 1_750_000_199, 1_750_000_201]) {
    const next = nextState(known, [snapshot(1), pending({ stableAtUnix, stableObservationCount: 3 })]);
    assert.is(isBookkeepingOnly(known, next), false, `${stableAtUnix}`);
  }
  const counted = nextState(known, [snapshot(1), pending({ stableAtUnix: 1_750_000_200, stableObservationCount: 3 })]);
  assert.is(isBookkeepingOnly(known, counted), true);
});

test('the same state is no counting: there is nothing to save', () => {
  assert.is(isBookkeepingOnly(before, before), false);
});

test.run();
