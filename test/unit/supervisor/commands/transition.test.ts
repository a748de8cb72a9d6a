// What an operator may take back: which records are forgotten and restored, and what waits for activation afterwards.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { contradictedVersions, correctedFirst } from '../../../../plugin/keys/profile.ts';
import { type RegistryState, type Snapshot, sealState } from '../../../../shared/registry/state.ts';
import { forgetVersions, restoreVersions, retireVersions } from '../../../../supervisor/commands/transition.ts';
import { throwsClass } from '../../../support/throws.ts';
import { content, createdAtUnix, firstState, nextState, profile, snapshot } from '../../../support/vectors.ts';

const never = (version: number, state: 'pending' | 'retired' | 'removed', change: Partial<Snapshot> = {}) =>
  snapshot(version, { state, promotedAtUnix: 0, ...change });
const brief = ({ snapshots }: RegistryState) =>
  snapshots.map(({ state, transitVersion }) => `${state} ${transitVersion}`);
const active = snapshot(1);
const counted = { stableObservationCount: 2, stableAtUnix: 1_750_000_200 };
const lied = nextState(firstState(), [active, never(999, 'pending'), never(2, 'retired', counted)]);

const evidence = ({ snapshots }: RegistryState, latestVersion: number) => ({
  contradicted: contradictedVersions(snapshots, profile(latestVersion)),
  correctedFirstAtUnix: correctedFirst(snapshots, profile(latestVersion)),
});

test('what OpenBao never had is forgotten, and the newest version that remains waits from the start', () => {
  const { next, forgotten, waiting } = forgetVersions(lied, [999], evidence(lied, 2));

  assert.equal(brief(next), ['active 1', 'pending 2']);
  assert.equal(
    forgotten.map(({ transitVersion }) => transitVersion),
    [999],
  );
  assert.equal([waiting?.transitVersion, waiting?.stableObservationCount, waiting?.stableAtUnix], [2, 0, 0]);
  assert.equal([next.generation, next.previousHash], [lied.generation + 1, lied.currentHash]);
});

test('contradicted is what was never active and is not in OpenBao, or with another creation time', () => {
  const recreated = never(2, 'retired', { transitVersionCreatedAtUnix: 1 });
  const records = [active, never(999, 'pending'), recreated, never(3, 'retired')];

  assert.equal(contradictedVersions(records, profile(3)), [2, 999]);
  assert.equal(contradictedVersions([snapshot(5), never(6, 'removed')], profile(1)), [], 'active, removed');
  assert.equal(contradictedVersions([snapshot(5, { state: 'retired' })], profile(1)), [], 'was active');
});

test('what the minimums of the key hide is not contradicted', () => {
  const listed = new Map([[3, 1_749_990_002]]);
  const records = [never(2, 'retired'), snapshot(3)];

  assert.equal(contradictedVersions(records, profile(3, { versions: listed, minDecryptionVersion: 3 })), []);
  assert.equal(contradictedVersions(records, profile(3, { versions: listed, minAvailableVersion: 3 })), []);
  assert.equal(contradictedVersions(records, profile(3, { versions: listed, minDecryptionVersion: 2 })), [2]);
});

const twice = nextState(firstState(), [
  active,
  never(3, 'pending'),
  never(2, 'retired'),
  never(2, 'retired', { transitVersionCreatedAtUnix: 1_749_990_009 }),
]);
const rotated = nextState(firstState(), [snapshot(2), snapshot(1, { state: 'retired' }), never(3, 'removed')]);
for (const [what, state, versions, contradicted, text] of [
  ['the active version', lied, [1], [1], /is or was active/u],
  ['a version that was active', rotated, [1], [1], /is or was active/u],
  ['a removed version', rotated, [3], [3], /version 3 is removed/u],
  ['a version that is not recorded', lied, [7], [7], /not recorded/u],
  ['a version that OpenBao has', lied, [2], [999], /OpenBao has version 2/u],
  ['one version twice', lied, [999, 999], [999], /twice/u],
  ['a version that is recorded twice', twice, [2], [2], /recorded 2 times/u],
] as const) {
  test(`${what} is not forgotten`, () => {
    const error = throwsClass(
      () => forgetVersions(state, versions, { contradicted, correctedFirstAtUnix: undefined }),
      'transition_refused',
    );
    assert.match(error.message, text);
  });
}

const wrongFirst = snapshot(1, { transitVersionCreatedAtUnix: createdAtUnix + 5 });

test('a first version that was wrong from the start is recorded as OpenBao has it, with its own key_id', () => {
  const state = sealState(content({ snapshots: [wrongFirst] }));
  const { next, forgotten, corrected } = forgetVersions(state, [1], evidence(state, 1));

  assert.equal(next.snapshots, [snapshot(1)]);
  assert.equal([next.activeKeyId, corrected?.kubernetesKeyId], [snapshot(1).kubernetesKeyId, next.activeKeyId]);
  assert.equal(forgotten, [wrongFirst]);
  assert.equal([next.generation, next.previousHash], [2, state.currentHash]);
});

test('with it go the versions that OpenBao never had, and one that it has waits', () => {
  const first = sealState(content({ snapshots: [wrongFirst] }));
  const state = nextState(first, [wrongFirst, never(999, 'pending'), never(2, 'retired', counted)]);
  const { next, waiting } = forgetVersions(state, [1, 999], evidence(state, 2));

  assert.equal(brief(next), ['active 1', 'pending 2']);
  assert.is(next.activeKeyId, snapshot(1).kubernetesKeyId);
  assert.is(waiting?.transitVersion, 2);
});

test('nothing is corrected when another version was active, when version 1 was never first, or by a key that was made since', () => {
  const corrected = (snapshots: readonly Snapshot[], at: number) =>
    correctedFirst(snapshots, profile(2, { versions: new Map([[1, at]]) }));
  const { observedAtUnix } = snapshot(1);

  assert.is(corrected([snapshot(1)], createdAtUnix), undefined, 'it is right');
  assert.is(corrected([snapshot(1)], observedAtUnix + 600), observedAtUnix + 600);
  assert.is(corrected([snapshot(1)], observedAtUnix + 601), undefined, 'made since');
  assert.is(corrected([snapshot(2)], 5), undefined, 'the only one is version 2');
  assert.is(corrected([snapshot(2), snapshot(1, { state: 'retired' })], 5), undefined, 'version 2 is active');
  assert.is(corrected([snapshot(1), snapshot(2, { state: 'removed' })], 5), undefined, 'version 2 was active');
  assert.is(corrected([snapshot(1), never(2, 'removed')], 5), 5, 'version 2 never was');
  assert.is(correctedFirst([snapshot(1)], profile(2, { versions: new Map() })), undefined, 'not listed');
});

test('the supervisor looks itself whether another version was active before it corrects the first', () => {
  const live = { contradicted: [], correctedFirstAtUnix: 5 };
  for (const other of [snapshot(2, { state: 'removed' }), snapshot(2, { state: 'retired' })]) {
    const state = nextState(firstState(), [snapshot(1), other]);
    throwsClass(() => forgetVersions(state, [1], live), 'transition_refused');
  }
  throwsClass(() => forgetVersions(nextState(firstState(), [snapshot(2)]), [2], live), 'transition_refused');
});

test('a removed record above the active version waits again when it is the newest', () => {
  const state = nextState(firstState(), [active, never(3, 'removed'), never(2, 'removed')]);

  assert.equal(brief(restoreVersions(state, ['3']).next), ['active 1', 'pending 3', 'removed 2']);
  assert.equal(brief(restoreVersions(state, ['2', '3']).next), ['active 1', 'pending 3', 'retired 2']);
  assert.equal(brief(restoreVersions(state, ['2']).next), ['active 1', 'removed 3', 'retired 2']);
});

test('the newest version waits again when it was retired before it was ever active', () => {
  const state = nextState(firstState(), [active, never(2, 'retired', counted)]);
  const { next, waiting } = restoreVersions(state, ['2']);

  assert.equal(brief(next), ['active 1', 'pending 2']);
  assert.is(waiting?.stableAtUnix, 0);
});

test('a removed record below the active version is retired, as before', () => {
  const state = nextState(firstState(), [snapshot(2), snapshot(1, { state: 'removed' })]);
  const { next, waiting } = restoreVersions(state, ['1']);

  assert.equal(brief(next), ['active 2', 'retired 1']);
  assert.is(waiting, undefined);
});

test('the active version, and a retired one below it, are not restored', () => {
  const state = nextState(firstState(), [snapshot(2), snapshot(1, { state: 'retired' })]);
  throwsClass(() => restoreVersions(state, ['2']), 'transition_refused');
  throwsClass(() => restoreVersions(state, ['1']), 'transition_refused');
});

test('while the first version is active there is nothing to retire, and the refusal says so', () => {
  const error = throwsClass(() => retireVersions(firstState(), 2), 'transition_refused');
  assert.match(error.message, /version 1 is the active version, and there is none below it/u);
});

test.run();
