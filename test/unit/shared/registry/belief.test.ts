// What the supervisor believes, rule by rule: which proposals an honest plugin can make, and which none makes.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  aheadOf,
  checkBelief,
  isClockBehind,
  isLarge,
  isWithinSize,
  maxRecords,
} from '../../../../shared/registry/belief.ts';
import { encodeState, type RegistryState, type Snapshot, sealState } from '../../../../shared/registry/state.ts';
import { content, createdAtUnix, firstState, nextState, snapshot } from '../../../support/vectors.ts';

const nowUnix = 1_760_000_000;
const dayAhead = nowUnix + 24 * 60 * 60;
const pendingOf = (version: number, change: Partial<Snapshot> = {}) =>
  snapshot(version, { state: 'pending', promotedAtUnix: 0, ...change });
const retiredOf = (version: number, change: Partial<Snapshot> = {}) =>
  snapshot(version, { state: 'retired', promotedAtUnix: 0, ...change });
const one = firstState();
const active = snapshot(1);
const formerly = snapshot(1, { state: 'retired' });
const stable = { stableObservationCount: 3, stableAtUnix: 1_750_000_300 };
const waiting = nextState(one, [active, pendingOf(2)]);
const counted = nextState(one, [active, pendingOf(2, { stableObservationCount: 2 })]);
const isStable = nextState(one, [active, pendingOf(2, stable)]);
const promoted = snapshot(2, { ...stable, promotedAtUnix: 1_750_000_500 });
const isRotated = nextState(isStable, [promoted, formerly]);
const isRemoved = nextState(isRotated, [promoted, snapshot(1, { state: 'removed' })]);

const believed: readonly (readonly [string, RegistryState, readonly Snapshot[]])[] = [
  ['a new version', one, [active, pendingOf(2)]],
  ['a new version, counted at once', one, [active, pendingOf(2, { stableObservationCount: 1 })]],
  ['a new version, stable at once', one, [active, pendingOf(2, { stableObservationCount: 1, stableAtUnix: nowUnix })]],
  ['a jump over two versions', one, [active, pendingOf(4), retiredOf(3), retiredOf(2)]],
  ['a jump while one waits', waiting, [active, pendingOf(4), retiredOf(3), retiredOf(2)]],
  ['a hole below the waiting one', nextState(one, [active, pendingOf(4)]), [active, pendingOf(4), retiredOf(3)]],
  ['one more count', waiting, [active, pendingOf(2, { stableObservationCount: 1 })]],
  ['the last count', counted, [active, pendingOf(2, stable)]],
  [
    'stable by a smaller threshold',
    counted,
    [active, pendingOf(2, { stableObservationCount: 2, stableAtUnix: nowUnix })],
  ],
  ['a promotion', isStable, [promoted, formerly]],
  ['a promotion that counts once more', isStable, [{ ...promoted, stableObservationCount: 4 }, formerly]],
  ['the next rotation', isRotated, [promoted, pendingOf(3), formerly]],
  ['a rotation beside a removed record', isRemoved, [promoted, pendingOf(3), snapshot(1, { state: 'removed' })]],
  ['created within a day of the clock', one, [active, pendingOf(2, { transitVersionCreatedAtUnix: dayAhead })]],
  [
    'created in the second of the active one',
    one,
    [active, pendingOf(2, { transitVersionCreatedAtUnix: createdAtUnix })],
  ],
  ['eight new records', one, [active, pendingOf(9), ...[2, 3, 4, 5, 6, 7, 8].map((version) => retiredOf(version))]],
  ['the greatest jump', one, [active, pendingOf(1_001)]],
];

for (const [what, before, records] of believed) {
  test(`believed: ${what}`, () => checkBelief(before, nextState(before, records), nowUnix));
}

const refused: readonly (readonly [string, RegistryState, readonly Snapshot[], RegExp])[] = [
  ['the true next version as removed', one, [active, retiredOf(2, { state: 'removed' })], /no jump leaves behind/u],
  [
    'an old version as retired',
    isRotated,
    [promoted, formerly, retiredOf(1, { transitVersionCreatedAtUnix: createdAtUnix + 9 })],
    /no jump/u,
  ],
  ['version 999 as retired', one, [active, retiredOf(999)], /no jump leaves behind/u],
  ['a retired version above the pending one', one, [active, pendingOf(2), retiredOf(3)], /no jump leaves behind/u],
  [
    'a recorded version once more',
    nextState(one, [active, pendingOf(3), retiredOf(2)]),
    [active, pendingOf(3), retiredOf(2), retiredOf(2, { transitVersionCreatedAtUnix: createdAtUnix + 9 })],
    /recorded already/u,
  ],
  [
    'a pending version below a recorded one',
    nextState(one, [active, pendingOf(3)]),
    [active, retiredOf(3), pendingOf(2)],
    /not the newest/u,
  ],
  [
    'a version once more, as retired, beside itself as the new pending one',
    one,
    [active, pendingOf(3), retiredOf(3, { transitVersionCreatedAtUnix: createdAtUnix + 9 })],
    /no jump leaves behind/u,
  ],
  [
    'a skipped version as removed below a new pending one',
    one,
    [active, pendingOf(3), retiredOf(2, { state: 'removed' })],
    /no jump leaves behind/u,
  ],
  [
    'the highest version once more, as pending',
    one,
    [active, pendingOf(1, { transitVersionCreatedAtUnix: createdAtUnix + 9 })],
    /not the newest/u,
  ],
  ['two pending versions', one, [active, pendingOf(2), pendingOf(3)], /two pending/u],
  [
    'a new version that was promoted once',
    one,
    [active, pendingOf(2, { promotedAtUnix: 1_750_000_200 })],
    /with a history/u,
  ],
  ['a new version that nobody saw', one, [active, pendingOf(2, { observedAtUnix: 0 })], /with a history/u],
  ['a new version, counted twice', one, [active, pendingOf(2, { stableObservationCount: 2 })], /were not made/u],
  [
    'a skipped version with a count',
    one,
    [active, pendingOf(3), retiredOf(2, { stableObservationCount: 1 })],
    /were not made/u,
  ],
  [
    'a version older than the active one',
    one,
    [active, pendingOf(2, { transitVersionCreatedAtUnix: createdAtUnix - 1 })],
    /older than the active/u,
  ],
  [
    'created more than a day ahead',
    one,
    [active, pendingOf(2, { transitVersionCreatedAtUnix: dayAhead + 1 })],
    /a day ahead/u,
  ],
  ['seen more than a day ahead', one, [active, pendingOf(2, { observedAtUnix: dayAhead + 1 })], /a day ahead/u],
  [
    'stable more than a day ahead',
    counted,
    [active, pendingOf(2, { stableObservationCount: 3, stableAtUnix: dayAhead + 1 })],
    /a day ahead/u,
  ],
  [
    'promoted more than a day ahead',
    isStable,
    [{ ...promoted, promotedAtUnix: dayAhead + 1 }, formerly],
    /a day ahead/u,
  ],
  [
    'another time of the active record',
    one,
    [{ ...active, promotedAtUnix: active.promotedAtUnix + 1 }],
    /rewrites a record/u,
  ],
  ['another time of a retired record', isRotated, [promoted, { ...formerly, promotedAtUnix: 0 }], /rewrites a record/u],
  ['a removed record that changed', isRemoved, [promoted, formerly], /rewrites a record/u],
  [
    'a retired version that is active again',
    isRotated,
    [
      { ...active, promotedAtUnix: nowUnix },
      { ...promoted, state: 'retired', stableObservationCount: 0, stableAtUnix: 0 },
    ],
    /rewrites a record/u,
  ],
  [
    'a former active one that keeps its count',
    isStable,
    [promoted, { ...formerly, stableObservationCount: 1 }],
    /rewrites a record/u,
  ],
  ['a pending one given up', waiting, [active, retiredOf(2)], /gives up/u],
  [
    'a pending one given up and rewritten',
    waiting,
    [active, pendingOf(3), retiredOf(2, { observedAtUnix: nowUnix })],
    /gives up/u,
  ],
  ['two counts at once', waiting, [active, pendingOf(2, { stableObservationCount: 2 })], /were not made/u],
  ['a count that falls', counted, [active, pendingOf(2, { stableObservationCount: 1 })], /were not made/u],
  ['another first sight', waiting, [active, pendingOf(2, { observedAtUnix: nowUnix })], /rewrites a record/u],
  ['another stable time', isStable, [active, pendingOf(2, { ...stable, stableAtUnix: nowUnix })], /rewrites a record/u],
  [
    'a waiting one that was promoted',
    waiting,
    [active, pendingOf(2, { promotedAtUnix: nowUnix })],
    /rewrites a record/u,
  ],
  [
    'a promotion of what was not stable',
    counted,
    [snapshot(2, { ...stable, promotedAtUnix: nowUnix }), formerly],
    /not stable/u,
  ],
  ['a promotion at no time', isStable, [{ ...promoted, promotedAtUnix: 0 }, formerly], /at no time/u],
  [
    'nine new records',
    one,
    [active, pendingOf(10), ...[2, 3, 4, 5, 6, 7, 8, 9].map((version) => retiredOf(version))],
    /more than 8/u,
  ],
  ['too great a jump', one, [active, pendingOf(1_002)], /by more than 1000/u],
];

for (const [what, before, records, text] of refused) {
  test(`refused: ${what}`, () => {
    assert.throws(() => checkBelief(before, nextState(before, records), nowUnix), text);
  });
}

const first = (change: Partial<Snapshot>) => sealState(content({ snapshots: [snapshot(1, change)] }));

test('a first state is one that was made from metadata at this moment', () => {
  const { observedAtUnix } = active;
  checkBelief(undefined, one, observedAtUnix);
  checkBelief(undefined, one, observedAtUnix + 300);
  assert.throws(() => checkBelief(undefined, one, observedAtUnix + 301), /no first state/u, 'made long ago');
  for (const change of [
    { stableObservationCount: 1 },
    { observedAtUnix: 0 },
    { promotedAtUnix: 0 },
    { transitVersion: 2 },
  ]) {
    assert.throws(() => checkBelief(undefined, first(change), observedAtUnix), /no first state/u);
  }
  const two = sealState(content({ snapshots: [active, retiredOf(2)] }));
  assert.throws(() => checkBelief(undefined, two, observedAtUnix), /no first state/u);
  const now = { observedAtUnix: nowUnix, promotedAtUnix: nowUnix };
  checkBelief(undefined, first({ ...now, transitVersionCreatedAtUnix: dayAhead }), nowUnix);
  assert.throws(
    () => checkBelief(undefined, first({ ...now, transitVersionCreatedAtUnix: dayAhead + 1 }), nowUnix),
    /ahead/u,
  );
  assert.throws(
    () => checkBelief(undefined, first({ observedAtUnix: dayAhead + 1, promotedAtUnix: dayAhead + 1 }), nowUnix),
    /ahead/u,
  );
});

test('a clock that was set back judges no time, and a plugin alone cannot bring that about', () => {
  const early = 1_500_000_000;
  assert.ok(isClockBehind(one, early));
  checkBelief(one, nextState(one, [active, pendingOf(2)]), early);
  const farthest = nextState(one, [active, pendingOf(2, { observedAtUnix: dayAhead })]);
  checkBelief(one, farthest, nowUnix);
  assert.not.ok(isClockBehind(farthest, nowUnix));
  assert.ok(aheadOf(farthest, nowUnix)(dayAhead + 1));
});

for (const [name, others] of [
  ['observedAtUnix', { promotedAtUnix: 0 }],
  ['stableAtUnix', { observedAtUnix: 1, stableObservationCount: 1, promotedAtUnix: 1 }],
  ['promotedAtUnix', { observedAtUnix: 1 }],
] as const) {
  test(`a clock that stands more than a day before ${name} of one record was set back`, () => {
    const state = (time: number) => first({ ...others, [name]: time });
    assert.not.ok(isClockBehind(state(dayAhead), nowUnix));
    assert.ok(isClockBehind(state(dayAhead + 1), nowUnix));
  });
}

const filled = (count: number): RegistryState => {
  const skipped = Array.from({ length: count - 2 }, (_, index) => retiredOf(index + 2));
  return nextState(one, [active, pendingOf(count), ...skipped]);
};

test('a registry of more than 4096 records is refused, and it is called large long before', () => {
  const full = filled(maxRecords);
  assert.ok(isWithinSize(full));
  assert.ok(isLarge(full));
  assert.not.ok(isLarge(filled(3_072)));
  assert.ok(isLarge(filled(3_073)));
  checkBelief(filled(maxRecords - 1), full, nowUnix);
  const more = nextState(full, [
    ...full.snapshots.slice(0, 1),
    pendingOf(4_097),
    retiredOf(4_096),
    ...full.snapshots.slice(2),
  ]);
  assert.not.ok(isWithinSize(more));
  assert.throws(() => checkBelief(full, more, nowUnix), /more than 4096/u);
});

test('few records that are long are large by their bytes, and too many bytes are not within the size', () => {
  const long = (count: number) => {
    const records = Array.from({ length: count }, (_, index) =>
      retiredOf(index + 2, { openbaoNamespace: 'x'.repeat(32 * 1024) }),
    );
    return nextState(one, [active, ...records]);
  };
  const sizeBytes = (state: RegistryState) => Buffer.byteLength(encodeState(state), 'utf8');
  const [small, large, tooLarge] = [long(90), long(97), long(129)];
  assert.ok(sizeBytes(small) < 3 * 1024 * 1024 && sizeBytes(large) > 3 * 1024 * 1024);
  assert.equal([isLarge(small), isLarge(large)], [false, true]);
  assert.equal([isWithinSize(large), isWithinSize(tooLarge)], [true, false]);
});

test.run();
