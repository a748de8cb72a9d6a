// One observation of the key: bootstrap, profile, restrictions, counting, jumps, promotion, discovery.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { afterObservation, elapsedKeyId, startWait } from '../../../../plugin/keys/activation-wait.ts';
import { advance as advanceLedger, type Ledger, type LedgerSettings } from '../../../../plugin/keys/ledger.ts';
import type { KeyProfile } from '../../../../plugin/keys/profile.ts';
import { type AdvanceInput, advance, bootstrap } from '../../../../plugin/keys/rotation.ts';
import { checkBelief, maxRecords } from '../../../../shared/registry/belief.ts';
import type { RegistryState } from '../../../../shared/registry/state.ts';
import { checkSuccessor } from '../../../../shared/registry/successor.ts';
import { throwsClass } from '../../../support/throws.ts';
import { fingerprint, firstState, identity, nextState, profile, snapshot } from '../../../support/vectors.ts';

const now = 1_750_000_500;

function look(state: RegistryState, seen: KeyProfile, change: Partial<AdvanceInput> = {}) {
  const result = advance({
    state,
    profile: seen,
    keyName: identity.transitKeyName,
    nowUnix: now,
    mode: 'advance',
    stableCount: 3,
    isCounted: true,
    promotable: undefined,
    rejectVersionRollback: true,
    ...change,
  });
  if (result.outcome !== 'unchanged') {
    checkSuccessor(state, result.state);
    checkBelief(state, result.state, now);
  }
  return result;
}

const brief = (state: RegistryState) =>
  state.snapshots.map(
    ({ transitVersion, state: kind, stableObservationCount }) => `${kind} ${transitVersion} ${stableObservationCount}`,
  );

test('a key that was never rotated bootstraps', () => {
  const state = bootstrap(identity, fingerprint, profile(1), identity.transitKeyName, now);

  assert.equal(brief(state), ['active 1 0']);
  assert.is(state.snapshots[0]?.promotedAtUnix, now);
  checkSuccessor(undefined, state);
});

for (const [what, seen, errorClass] of [
  ['a rotated key', profile(2), 'state_unavailable'],
  ['a trimmed key', profile(1, { minAvailableVersion: 2 }), 'state_unavailable'],
  ['a restricted key', profile(1, { minDecryptionVersion: 2 }), 'state_unavailable'],
  ['an exportable key', profile(1, { isExportable: true }), 'profile_invalid'],
] as const) {
  test(`${what} does not bootstrap`, () => {
    throwsClass(() => bootstrap(identity, fingerprint, seen, identity.transitKeyName, now), errorClass);
  });
}

const unacceptable: readonly (readonly [string, Partial<KeyProfile>])[] = [
  ['another type', { type: 'rsa-2048' }],
  ['another name', { name: 'other' }],
  ['latest version 0', { latestVersion: 0 }],
  ['a negative minimum', { minAvailableVersion: -1 }],
  ['a minimum above the latest', { minAvailableVersion: 2 }],
  ['soft deletion', { isSoftDeleted: true }],
  ['export', { isExportable: true }],
  ['plaintext backup', { isPlaintextBackupAllowed: true }],
  ['deletion allowed', { isDeletionAllowed: true }],
  ['derivation', { isDerived: true }],
  ['convergence', { isConvergent: true }],
  ['min_encryption above the latest', { minEncryptionVersion: 2 }],
  ['min_decryption above the latest', { minDecryptionVersion: 2 }],
  ['no encryption', { supportsEncryption: false }],
  ['no decryption', { supportsDecryption: false }],
  [
    'a version above the latest',
    {
      versions: new Map([
        [1, 5],
        [2, 6],
      ]),
    },
  ],
  ['a creation time of 0', { versions: new Map([[1, 0]]) }],
  ['no creation time of the latest', { versions: new Map() }],
];

for (const [what, change] of unacceptable) {
  test(`a profile with ${what} fails the observation`, () => {
    throwsClass(() => look(firstState(), profile(1, change)), 'profile_invalid');
  });
}

test('a recreated key, one second off, fails although its version is the same', () => {
  const error = throwsClass(
    () => look(firstState(), profile(1, { versions: new Map([[1, 1_749_990_001]]) })),
    'profile_invalid',
  );

  assert.is(error.facts['finding'], 'version_recreated');
});

test('nothing new changes nothing', () => {
  const state = firstState();
  const result = look(state, profile(1));

  assert.is(result.outcome, 'unchanged');
  assert.is(result.state, state);
});

test('a newer version is pending at once, decryptable, and never encrypts before its time', () => {
  const { outcome, state } = look(firstState(), profile(2));

  assert.is(outcome, 'pending');
  assert.equal(brief(state), ['active 1 0', 'pending 2 1']);
});

test('counting stops at the threshold and notes when it became stable', () => {
  let state = firstState();
  for (const expected of ['pending 2 1', 'pending 2 2', 'pending 2 3']) {
    state = look(state, profile(2)).state;
    assert.is(brief(state)[1], expected);
  }
  assert.is(state.snapshots[1]?.stableAtUnix, now);
  assert.is(look(state, profile(2)).outcome, 'unchanged');
  assert.is(look(state, profile(2)).stable?.transitVersion, 2);
});

test('an observation too close to the last one is not counted', () => {
  const first = look(firstState(), profile(2)).state;

  assert.is(look(first, profile(2), { isCounted: false }).outcome, 'unchanged');
});

function stableState(): RegistryState {
  let state = firstState();
  for (let index = 0; index < 3; index += 1) state = look(state, profile(2)).state;
  return state;
}

test('a stable candidate whose wait is over is promoted, the old key retires', () => {
  const result = look(stableState(), profile(2), { promotable: snapshot(2).kubernetesKeyId });

  assert.is(result.outcome, 'promoted');
  assert.equal(brief(result.state), ['active 2 3', 'retired 1 0']);
});

test('the wait of another key promotes nothing', () => {
  assert.is(look(stableState(), profile(2), { promotable: snapshot(1).kubernetesKeyId }).outcome, 'unchanged');
});

test('min_encryption_version above the active version blocks encryption and lets observing go on', () => {
  const result = look(firstState(), profile(2, { minEncryptionVersion: 2 }));

  assert.ok(result.isEncryptionBlocked);
  assert.is(result.outcome, 'pending');
});

for (const [what, change] of [
  ['min_decryption_version', { minDecryptionVersion: 2 }],
  ['min_available_version', { minAvailableVersion: 2 }],
] as const) {
  test(`${what} above a version in use fails the observation`, () => {
    throwsClass(() => look(firstState(), profile(2, change)), 'profile_invalid');
  });
}

test('a jump stores what was skipped as retired', () => {
  assert.equal(brief(look(firstState(), profile(4)).state), [
    'active 1 0',
    'pending 4 1',
    'retired 3 0',
    'retired 2 0',
  ]);
});

test('a jump with a missing creation time stores nothing', () => {
  const seen = profile(3);
  const versions = new Map([...seen.versions].filter(([version]) => version !== 2));

  throwsClass(() => look(firstState(), { ...seen, versions }), 'profile_invalid');
});

test('a newer candidate starts its own count and the older one retires', () => {
  const state = look(look(firstState(), profile(2)).state, profile(3)).state;

  assert.equal(brief(state), ['active 1 0', 'pending 3 1', 'retired 2 1']);
});

test('a version that goes back fails with the configured reason and drops nothing', () => {
  const promoted = look(stableState(), profile(2), { promotable: snapshot(2).kubernetesKeyId }).state;

  throwsClass(() => look(promoted, profile(1)), 'version_rollback');
  throwsClass(() => look(promoted, profile(1), { rejectVersionRollback: false }), 'profile_invalid');
});

test('discovery stores a new version without counting, and nothing when it is known', () => {
  const found = look(firstState(), profile(2), { mode: 'discover' });

  assert.equal(brief(found.state), ['active 1 0', 'pending 2 0']);
  assert.is(
    look(found.state, profile(2), { mode: 'discover', promotable: snapshot(2).kubernetesKeyId }).outcome,
    'unchanged',
  );
});

test('a clock that went back is reported and times never run backwards', () => {
  const result = look(stableState(), profile(2), { promotable: snapshot(2).kubernetesKeyId, nowUnix: now - 9_999 });

  assert.ok(result.isClockRegressed);
  assert.is(result.state.snapshots[0]?.promotedAtUnix, now);
});

test('the activation wait counts from the observation, for exactly one key, and takes over what was waited', () => {
  const after = (wait: ReturnType<typeof startWait>, keyId: string | undefined, nowMs: number) =>
    afterObservation(wait, keyId, 120_000, nowMs);
  const first = after(startWait({ keyId: 'a', elapsedMs: 100_000 }), 'a', 1_000);
  assert.is(elapsedKeyId(first, 20_999), undefined);
  assert.is(elapsedKeyId(first, 21_000), 'a');
  const other = after(first, 'b', 30_000);
  assert.is(elapsedKeyId(other, 149_999), undefined);
  assert.is(elapsedKeyId(other, 150_000), 'b');
  assert.is(elapsedKeyId(after(other, undefined, 150_000), 999_999), undefined);
});

/** One probe whose saves all succeed. @returns each state that was saved */
function probe(ledger: Ledger, latest: number, mode: 'advance' | 'discover' = 'advance'): RegistryState[] {
  const saved: RegistryState[] = [];
  const before = ledger.published;
  const settings: LedgerSettings = {
    identity,
    identityFingerprint: fingerprint,
    keyName: identity.transitKeyName,
    stableCount: 3,
    activationDelayMs: 1_000,
    probeIntervalMs: 0,
    rejectVersionRollback: true,
  };
  const reading = { profile: profile(latest), mode, startedAtMs: 0, nowUnix: now, nowMs: () => 0, isDeepGood: true };
  const steps = advanceLedger(ledger, settings, reading);
  for (let step = steps.next(); step.done !== true; ) {
    if (step.value.kind === 'save') {
      checkBelief(saved.at(-1) ?? before, step.value.state, now);
      saved.push(step.value.state);
    }
    step = steps.next(step.value.kind === 'save' ? { outcome: 'saved', onDisk: 'attempted' } : true);
  }
  return saved;
}

const newLedger = (): Ledger => ({
  published: firstState(),
  pendingCommit: undefined,
  wait: startWait(undefined),
  lastCountedAtMs: Number.NEGATIVE_INFINITY,
});

for (const mode of ['advance', 'discover'] as const) {
  test(`a jump over thirty versions is taken in parts of eight records, in one probe (${mode})`, () => {
    const saved = probe(newLedger(), 31, mode);

    assert.equal(
      saved.map(({ snapshots }) => snapshots.length),
      [9, 17, 25, 31],
    );
    assert.equal(brief(saved.at(-1) ?? firstState()).slice(0, 3), [
      'active 1 0',
      `pending 31 ${mode === 'advance' ? 1 : 0}`,
      'retired 30 0',
    ]);
  });
}

test('a jump of exactly eight records is one commit and is counted; one more is a part', () => {
  for (const [latest, isPartial, count] of [
    [9, false, 1],
    [10, true, 0],
  ] as const) {
    const result = look(firstState(), profile(latest));
    assert.equal([result.isPartial, result.state.snapshots.length], [isPartial, 9]);
    const candidate = result.state.snapshots.find(({ state }) => state === 'pending');
    assert.equal([candidate?.transitVersion, candidate?.stableObservationCount], [9, count]);
  }
});

test('a jump over a hundred versions goes on with the next probe', () => {
  const ledger = newLedger();
  const counts = [probe(ledger, 101), probe(ledger, 101), probe(ledger, 101)].map((saved) => saved.length);

  assert.equal(counts, [5, 5, 3]);
  assert.equal(brief(ledger.published ?? firstState())[1], 'pending 101 1');
  assert.is(ledger.published?.snapshots.length, 101);
});

test('a full registry takes no newer version and goes on with the active one', () => {
  const skipped = Array.from({ length: maxRecords - 2 }, (_, index) =>
    snapshot(index + 2, { state: 'retired', promotedAtUnix: 0 }),
  );
  const full = nextState(firstState(), [
    snapshot(1),
    snapshot(maxRecords, { state: 'pending', promotedAtUnix: 0 }),
    ...skipped,
  ]);
  const result = look(full, profile(maxRecords + 1));

  assert.is(result.outcome, 'unchanged');
  assert.not.ok(result.isEncryptionBlocked);
});

test('what no supervisor would believe is told as a finding and not proposed', () => {
  const older = profile(2, {
    versions: new Map([
      [1, 1_749_990_000],
      [2, 1_749_989_999],
    ]),
  });
  const ahead = profile(2, {
    versions: new Map([
      [1, 1_749_990_000],
      [2, now + 24 * 3_600 + 1],
    ]),
  });
  const before = throwsClass(() => look(firstState(), older), 'profile_invalid');
  const future = throwsClass(() => look(firstState(), ahead), 'profile_invalid');

  assert.equal([before.facts['finding'], future.facts['finding']], ['version_before_active', 'version_ahead_of_clock']);
  throwsClass(
    () => bootstrap(identity, fingerprint, profile(1), identity.transitKeyName, 1_700_000_000),
    'profile_invalid',
  );
});

test('a refusal over records that were never active names the command that drops them', () => {
  const state = nextState(firstState(), [
    snapshot(1),
    snapshot(999, { state: 'pending', promotedAtUnix: 0 }),
    snapshot(2, { state: 'retired', promotedAtUnix: 0, transitVersionCreatedAtUnix: 1_749_990_007 }),
  ]);
  const { facts } = throwsClass(() => look(state, profile(2)), 'profile_invalid');
  assert.equal(
    [facts['finding'], facts['repair']],
    ['version_missing', 'bao-kms-provider forget-versions --versions 2,999'],
  );
  const retired = nextState(firstState(), [snapshot(1), snapshot(2, { state: 'retired', promotedAtUnix: 0 })]);
  assert.is(
    throwsClass(() => look(retired, profile(2)), 'profile_invalid').facts['repair'],
    'bao-kms-provider restore-versions --versions 2',
  );
  const active = nextState(firstState(), [snapshot(2)]);
  assert.is(
    throwsClass(() => look(active, profile(2, { versions: new Map([[2, 5]]) })), 'profile_invalid').facts['repair'],
    undefined,
  );
});

test('a candidate that was stable under a lower count waits until the higher one is reached', () => {
  const pending = snapshot(2, {
    state: 'pending',
    promotedAtUnix: 0,
    stableObservationCount: 1,
    stableAtUnix: 1_750_000_200,
  });
  const state = nextState(firstState(), [snapshot(1), pending]);
  const found = look(state, profile(2), { stableCount: 3, isCounted: false, promotable: pending.kubernetesKeyId });
  assert.is.not(found.outcome, 'promoted');
});

test.run();
