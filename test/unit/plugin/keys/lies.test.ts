// Metadata that lies, in every member and every way: it is refused with a class, or it changes nothing that must not change.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { advance } from '../../../../plugin/keys/rotation.ts';
import { readKeyProfile } from '../../../../plugin/transit/read-key-profile.ts';
import { ProviderError } from '../../../../shared/errors/error.ts';
import { checkSuccessor } from '../../../../shared/registry/successor.ts';
import { metadata } from '../../../support/metadata.ts';
import { createdAtUnix, firstState, identity } from '../../../support/vectors.ts';

const truth = metadata(2);
const trueKeys = truth['keys'] as Record<string, number>;

const lies: readonly unknown[] = [
  undefined,
  null,
  -1,
  1.5,
  2 ** 53,
  2 ** 31,
  1e308,
  Number.NaN,
  '1',
  '',
  true,
  false,
  {},
  [],
  [1],
];

/** What a first observation of a lie leads to. */
function look(data: Record<string, unknown>): string {
  const state = firstState();
  try {
    const found = advance({
      state,
      profile: readKeyProfile(data),
      keyName: identity.transitKeyName,
      nowUnix: createdAtUnix + 100,
      mode: 'advance',
      stableCount: 1,
      isCounted: true,
      promotable: undefined,
      rejectVersionRollback: true,
    });
    if (found.outcome !== 'unchanged') checkSuccessor(state, found.state);
    assert.is(found.state.activeKeyId, state.activeKeyId, 'nothing is promoted by one reading');
    return found.outcome;
  } catch (error) {
    assert.instance(error, ProviderError);
    return (error as ProviderError).class;
  }
}

test('the truth is accepted', () => {
  assert.is(look(truth), 'pending');
});

for (const member of Object.keys(truth)) {
  for (const lie of lies) {
    test(`${member} = ${lie === undefined ? 'missing' : String(JSON.stringify(lie) ?? lie)}: refused with a class, or harmless`, () => {
      const data: Record<string, unknown> = { ...truth, [member]: lie };
      if (lie === undefined) delete data[member];
      const outcome = look(data);
      assert.ok(
        ['pending', 'unchanged', 'profile_invalid', 'version_rollback', 'bao_protocol_error'].includes(outcome),
        outcome,
      );
      const decides = ['name', 'type', 'latest_version', 'min_available_version', 'min_decryption_version', 'keys'];
      const isWrongKind = typeof lie !== typeof Reflect.get(truth, member) || lie === null;
      if (decides.includes(member) && isWrongKind) assert.not.ok(['pending', 'unchanged'].includes(outcome), outcome);
    });
  }
}

const keys: readonly (readonly [string, Record<string, unknown>, string])[] = [
  ['a version 0', { ...trueKeys, '0': 1 }, 'profile_invalid'],
  ['a negative version', { ...trueKeys, '-1': 1 }, 'profile_invalid'],
  ['a fractional version', { ...trueKeys, '1.5': 1 }, 'profile_invalid'],
  ['a version twice, spelled differently', { ...trueKeys, '01': createdAtUnix + 5 }, 'profile_invalid'],
  ['a version twice, with the same time', { ...trueKeys, '01': createdAtUnix }, 'profile_invalid'],
  ['a version beyond the latest', { ...trueKeys, '3': createdAtUnix + 2 }, 'profile_invalid'],
  ['a huge version', { ...trueKeys, '99999999999': 1 }, 'profile_invalid'],
  ['the newest one missing', { '1': createdAtUnix }, 'profile_invalid'],
  ['the active one missing', { '2': createdAtUnix + 1 }, 'profile_invalid'],
  ['a creation time that moved forward', { '1': createdAtUnix + 1, '2': createdAtUnix + 1 }, 'profile_invalid'],
  ['a creation time that moved back', { '1': createdAtUnix - 1, '2': createdAtUnix + 1 }, 'profile_invalid'],
  ['a creation time before the epoch', { '1': createdAtUnix, '2': -5 }, 'profile_invalid'],
  ['a creation time of text', { '1': createdAtUnix, '2': 'now' }, 'bao_protocol_error'],
  ['a fraction of a second', { '1': createdAtUnix + 0.9, '2': createdAtUnix + 1 }, 'pending'],
];
for (const [what, versions, outcome] of keys) {
  test(`keys with ${what}: ${outcome}`, () => {
    assert.is(look({ ...truth, keys: versions }), outcome);
  });
}

test('a clock that runs backwards keeps the order of the recorded times, and says so', () => {
  const state = firstState();
  const input = {
    profile: readKeyProfile(truth),
    keyName: identity.transitKeyName,
    mode: 'advance',
    stableCount: 1,
    isCounted: true,
    rejectVersionRollback: true,
  } as const;
  const seen = advance({ ...input, state, nowUnix: 2_000_000_000, promotable: undefined });
  const candidate = seen.stable?.kubernetesKeyId;
  const promoted = advance({ ...input, state: seen.state, nowUnix: 1_000_000_000, promotable: candidate });
  assert.is(promoted.outcome, 'promoted');
  assert.ok(promoted.isClockRegressed);
  assert.is(promoted.state.snapshots[0]?.promotedAtUnix, 2_000_000_000);
  checkSuccessor(seen.state, promoted.state);
});

test.run();
