// What one probe does with a candidate: it is promoted only if it could encrypt and decrypt, and counted once in half an interval.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { afterObservation, startWait } from '../../../../plugin/keys/activation-wait.ts';
import { advance, type Ledger, type LedgerSettings, type Reading } from '../../../../plugin/keys/ledger.ts';
import type { RegistryState } from '../../../../shared/registry/state.ts';
import { fingerprint, firstState, identity, nextState, profile, snapshot } from '../../../support/vectors.ts';

const settings: LedgerSettings = {
  identity,
  identityFingerprint: fingerprint,
  keyName: identity.transitKeyName,
  stableCount: 1,
  activationDelayMs: 1_000,
  probeIntervalMs: 1_000,
  rejectVersionRollback: true,
};
const stable = snapshot(2, {
  state: 'pending',
  promotedAtUnix: 0,
  stableObservationCount: 1,
  stableAtUnix: 1_750_000_200,
});
const waiting = nextState(firstState(), [snapshot(1), stable]);

function ledgerOf(published: RegistryState, lastCountedAtMs = Number.NEGATIVE_INFINITY): Ledger {
  const wait = afterObservation(startWait(undefined), stable.kubernetesKeyId, 1_000, 0);
  return { published, pendingCommit: undefined, wait, lastCountedAtMs };
}

/** @returns the states that were to be saved, and what it asked for */
function probe(ledger: Ledger, canEncrypt: boolean, change: Partial<Reading> = {}) {
  const reading: Reading = {
    profile: profile(2),
    mode: 'advance',
    startedAtMs: 10_000,
    nowUnix: 1_750_000_500,
    nowMs: () => 10_000,
    isDeepGood: true,
    ...change,
  };
  const steps = advance(ledger, settings, reading);
  const kinds: string[] = [];
  const saved: RegistryState[] = [];
  for (let step = steps.next(); step.done !== true; ) {
    const effect = step.value;
    kinds.push(effect.kind);
    if (effect.kind === 'save') {
      saved.push(effect.state);
      step = steps.next({ outcome: 'saved', onDisk: 'attempted' });
    } else step = steps.next(effect.kind === 'prove' ? canEncrypt : undefined);
  }
  return { kinds, saved };
}

test('a candidate that can encrypt is promoted', () => {
  const { kinds, saved } = probe(ledgerOf(waiting), true);
  assert.ok(kinds.includes('promoted'));
  assert.is(saved.at(-1)?.activeKeyId, stable.kubernetesKeyId);
});

test('a candidate that cannot is not', () => {
  const { kinds, saved } = probe(ledgerOf(waiting), false);
  assert.ok(kinds.includes('prove'));
  assert.not.ok(kinds.includes('promoted'));
  assert.ok(saved.every(({ activeKeyId }) => activeKeyId === waiting.activeKeyId));
});

test('a probe that follows too soon counts nothing', () => {
  const fresh = nextState(firstState(), [
    snapshot(1),
    snapshot(2, { state: 'pending', promotedAtUnix: 0, stableObservationCount: 0 }),
  ]);
  const counts = (lastCountedAtMs: number) =>
    probe(ledgerOf(fresh, lastCountedAtMs), true)
      .saved.flatMap(({ snapshots }) => snapshots)
      .filter(({ stableObservationCount }) => stableObservationCount > 0).length;
  assert.equal([counts(10_000 - 499), counts(10_000 - 500)], [0, 1]);
});

test.run();
