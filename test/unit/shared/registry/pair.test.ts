// The pair on disk, every row of the load matrix; and which state may follow which.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { checkpointOf, encodeCheckpoint, parseCheckpoint } from '../../../../shared/registry/checkpoint.ts';
import { checkBinding, judgePair } from '../../../../shared/registry/pair.ts';
import { sealState } from '../../../../shared/registry/state.ts';
import { checkSuccessor } from '../../../../shared/registry/successor.ts';
import { throwsClass } from '../../../support/throws.ts';
import { content, firstState, identity, nextState, snapshot } from '../../../support/vectors.ts';

const pending = snapshot(2, { state: 'pending', promotedAtUnix: 0 });
const one = firstState();
const two = nextState(one, [snapshot(1), pending]);
const three = nextState(two, [snapshot(1), { ...pending, stableObservationCount: 1 }]);
const fork = nextState(one, [snapshot(1), { ...pending, stableObservationCount: 2 }]);

test('a record that was rejected may be changed or dropped, one that was removed neither', () => {
  for (const [state, isFree] of [
    ['rejected', true],
    ['removed', false],
  ] as const) {
    const before = nextState(one, [snapshot(1), { ...pending, state }]);
    for (const records of [[snapshot(1)], [snapshot(1), { ...pending, state: 'retired' as const }]]) {
      const check = () => checkSuccessor(before, nextState(before, records));
      if (isFree) check();
      else throwsClass(check, 'state_rollback');
    }
    checkSuccessor(before, nextState(before, [snapshot(1), { ...pending, state }]));
  }
});

test('neither file: no state', () => {
  assert.equal(judgePair(undefined, undefined, false), { kind: 'absent' });
});

test('a state without checkpoint is accepted and its checkpoint completed', () => {
  assert.equal(judgePair(undefined, two, false), { kind: 'accepted', state: two, writeCheckpoint: 'missing' });
});

test('requireCheckpoint refuses that for later generations only', () => {
  throwsClass(() => judgePair(undefined, two, true), 'state_rollback');
  assert.is(judgePair(undefined, one, true).kind, 'accepted');
});

test('the same generation and hash is accepted as it is', () => {
  assert.equal(judgePair(checkpointOf(two), two, false), { kind: 'accepted', state: two, writeCheckpoint: 'no' });
});

test('the direct successor is accepted and its checkpoint completed', () => {
  assert.equal(judgePair(checkpointOf(one), two, false), { kind: 'accepted', state: two, writeCheckpoint: 'behind' });
});

for (const [what, checkpoint, state] of [
  ['the state is missing', checkpointOf(one), undefined],
  ['the state is older', checkpointOf(two), one],
  ['the same generation has another hash', checkpointOf(fork), two],
  ['the successor names another predecessor', checkpointOf(fork), three],
  ['a generation is missing', checkpointOf(one), three],
] as const) {
  test(`${what}: rollback`, () => {
    throwsClass(() => judgePair(checkpoint, state, false), 'state_rollback');
  });
}

test('a checkpoint is read back, and a malformed one is corrupt', () => {
  const text = encodeCheckpoint(checkpointOf(one));

  assert.equal(parseCheckpoint(text), checkpointOf(one));
  for (const bad of [
    '',
    '{}',
    text.replace('v1alpha1', 'v1'),
    text.replace('krs1.', 'krs2.'),
    text.replace('1,', '0,'),
    `${text}x`,
  ]) {
    throwsClass(() => parseCheckpoint(bad), 'state_corrupt');
  }
});

for (const [name, value] of [
  ['providerName', 'other'],
  ['clusterId', 'other'],
  ['openbaoInstanceId', 'other'],
  ['openbaoNamespace', ''],
  ['transitMountId', 'other'],
  ['transitKeyLineageId', 'other'],
  ['transitMountPath', 'other'],
  ['transitKeyName', 'other'],
] as const) {
  test(`a configuration with another ${name} does not get this state`, () => {
    checkBinding(one, identity);
    throwsClass(() => checkBinding(one, { ...identity, [name]: value }), 'state_binding');
  });
}

test('observation, counting and promotion are legal successors', () => {
  checkSuccessor(undefined, one);
  checkSuccessor(one, two);
  checkSuccessor(two, three);
  const promoted = nextState(three, [snapshot(2, { stableObservationCount: 1 }), snapshot(1, { state: 'retired' })]);
  checkSuccessor(three, promoted);
});

const retired = snapshot(1, { state: 'retired' });
const removed = snapshot(1, { state: 'removed' });
const base = nextState(one, [snapshot(2), retired]);
const withRemoved = nextState(one, [snapshot(2), removed]);

for (const [what, before, after] of [
  [
    'another fingerprint',
    one,
    sealState(
      content({
        generation: 2,
        previousHash: one.currentHash,
        identityFingerprint: 'cfg1.F8tlY-jKSOLOojdCbpvG4EO1_3w8o5Bf7OktcXGs8sU',
      }),
    ),
  ],
  ['the same generation', one, fork.generation === 2 ? one : fork],
  ['a skipped generation', one, sealState(content({ generation: 3, previousHash: one.currentHash }))],
  ['another predecessor', two, nextState(fork, [snapshot(1), pending])],
  ['a lower active version', base, nextState(base, [snapshot(1), snapshot(2, { state: 'retired' })])],
  ['a dropped record', base, nextState(base, [snapshot(2)])],
  [
    'an active record that becomes pending',
    base,
    nextState(base, [snapshot(3), snapshot(2, { state: 'pending' }), retired]),
  ],
  ['a retired record that becomes removed', base, nextState(base, [snapshot(2), removed])],
  ['a removed record that becomes retired', withRemoved, nextState(withRemoved, [snapshot(2), retired])],
  [
    'a removed record that changes',
    withRemoved,
    nextState(withRemoved, [snapshot(2), snapshot(1, { state: 'removed', promotedAtUnix: 1_750_000_900 })]),
  ],
  [
    'a pending record that becomes removed',
    two,
    nextState(two, [snapshot(1), { ...pending, state: 'removed' as const }]),
  ],
] as const) {
  test(`${what} is no successor`, () => {
    throwsClass(() => checkSuccessor(before, after), 'state_rollback');
  });
}

test('a first state with more than version 1 is no bootstrap', () => {
  throwsClass(() => checkSuccessor(undefined, sealState(content({ snapshots: [snapshot(2)] }))), 'state_rollback');
  throwsClass(() => checkSuccessor(undefined, two), 'state_rollback');
});

test('a state that names an older checkpoint as its predecessor and skips a generation is a rollback', () => {
  const skipping = sealState({
    ...content({ snapshots: two.snapshots }),
    generation: 3,
    previousHash: one.currentHash,
  });
  throwsClass(() => judgePair(checkpointOf(one), skipping, false), 'state_rollback');
});

test('a record of another key lineage is not ours, whatever the fingerprint says', () => {
  const foreign = snapshot(1, { transitKeyLineageId: 'lin-of-another' });
  const state = sealState(content({ snapshots: [foreign] }));
  throwsClass(() => checkBinding(state, identity), 'state_binding');
});

test('an older state that claims to follow a newer checkpoint is a rollback', () => {
  const claiming = sealState({
    ...content({ snapshots: two.snapshots }),
    generation: 2,
    previousHash: three.currentHash,
  });
  throwsClass(() => judgePair(checkpointOf(three), claiming, false), 'state_rollback');
});

test.run();
