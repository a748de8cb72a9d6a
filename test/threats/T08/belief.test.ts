// T08 registry poisoned: a plugin that was taken over proposes legal successors that name what OpenBao never had, or that are
// written larger than they were checked. Each is refused, nothing is written, and the next honest rotation is saved.

import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  encodeState,
  parseState,
  type RegistryState,
  type Snapshot,
  sealState,
} from '../../../shared/registry/state.ts';
import { pinDirectory } from '../../../supervisor/custody/pinned-directory.ts';
import { createStateFiles } from '../../../supervisor/custody/state-files.ts';
import { StateStore } from '../../../supervisor/custody/state-store.ts';
import { rejectsClass } from '../../support/throws.ts';
import { content, createdAtUnix, firstState, identity, nextState, snapshot } from '../../support/vectors.ts';

const nowUnix = 1_750_000_300;
const farUnix = nowUnix + 30 * 24 * 3_600;
const uid = process.geteuid?.() ?? -1;
const one = firstState();
const active = snapshot(1);
const pendingOf = (version: number, change: Partial<Snapshot> = {}) =>
  snapshot(version, { state: 'pending', promotedAtUnix: 0, ...change });
const retiredOf = (version: number, change: Partial<Snapshot> = {}) =>
  snapshot(version, { state: 'retired', promotedAtUnix: 0, ...change });
const waiting = nextState(one, [active, pendingOf(2)]);

async function withStore(
  history: readonly RegistryState[],
  run: (store: StateStore, text: () => string) => Promise<void>,
  clockUnix: () => number = () => nowUnix,
): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'bao-kms-belief-'));
  chmodSync(directory, 0o750);
  const pinned = pinDirectory(directory, 'state', uid);
  const store = new StateStore({
    files: createStateFiles(pinned, uid),
    name: 'state.json',
    identity,
    requireCheckpoint: false,
    activationDelayMs: 0,
    nowMs: () => 0,
    nowUnix: clockUnix,
    randomHex: () => '0badcafe',
  });
  try {
    await store.load();
    for (const state of history) assert.is((await store.commit(encodeState(state))).outcome, 'saved');
    await run(store, () => readFileSync(join(directory, 'state.json'), 'utf8'));
  } finally {
    pinned.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

const lies: readonly (readonly [string, readonly RegistryState[], readonly Snapshot[]])[] = [
  ['version 999 as retired', [one], [active, retiredOf(999)]],
  ['the true next version as removed', [one], [active, retiredOf(2, { state: 'removed' })]],
  ['version 2147483647', [one], [active, pendingOf(2_147_483_647, { transitVersionCreatedAtUnix: nowUnix })]],
  ['two pending versions', [one], [active, pendingOf(2), pendingOf(3)]],
  ['a version that is older than the active one', [one], [active, pendingOf(2, { transitVersionCreatedAtUnix: 1 })]],
  ['a creation time next month', [one], [active, pendingOf(2, { transitVersionCreatedAtUnix: farUnix })]],
  ['a count that was never made', [one, waiting], [active, pendingOf(2, { stableObservationCount: 9 })]],
  ['another history of the active record', [one], [{ ...active, promotedAtUnix: nowUnix }]],
  ['the waiting version given up', [one, waiting], [active, retiredOf(2)]],
  ['nine versions at once', [one], [active, pendingOf(10), ...[2, 3, 4, 5, 6, 7, 8, 9].map((at) => retiredOf(at))]],
];

for (const [what, history, records] of lies) {
  test(`refused: ${what}`, () =>
    withStore(history, async (store, text) => {
      const before = text();
      const last = history.at(-1) ?? one;
      await rejectsClass(store.commit(encodeState(nextState(last, records))), 'state_rollback');
      assert.is(text(), before);
      const honest = last === one ? [active, pendingOf(2)] : [active, pendingOf(2, { stableObservationCount: 1 })];
      assert.is((await store.commit(encodeState(nextState(last, honest)))).outcome, 'saved');
    }));
}

test('refused: a first state of a version that will never be', () =>
  withStore([], async (store) => {
    const forged = nextState(one, [snapshot(1, { transitVersionCreatedAtUnix: farUnix })]);
    const first = { ...forged, generation: 1, previousHash: '' };
    const { hashState } = await import('../../../shared/registry/state.ts');
    const sealed = { ...first, currentHash: hashState(first) };
    await rejectsClass(store.commit(encodeState(sealed)), 'state_rollback');
    assert.is((await store.commit(encodeState(one))).outcome, 'saved');
  }));

test('refused: a first state that claims to have been made long ago, so that its wrong record could not be told from a right one', () =>
  withStore([], async (store) => {
    const forged = snapshot(1, {
      observedAtUnix: 1,
      promotedAtUnix: 1,
      transitVersionCreatedAtUnix: createdAtUnix + 5,
    });
    const sealed = sealState(content({ snapshots: [forged] }));
    await rejectsClass(store.commit(encodeState(sealed)), 'state_rollback');
    assert.is((await store.commit(encodeState(one))).outcome, 'saved');
  }));

test('refused: a time of any year, once the clock of this node went a second back after a lie of a day', () => {
  let clockUnix = nowUnix;
  return withStore(
    [one],
    async (store) => {
      const observedAtUnix = nowUnix + 24 * 3_600;
      const lied = nextState(one, [active, pendingOf(2, { observedAtUnix })]);
      assert.is((await store.commit(encodeState(lied))).outcome, 'saved');
      clockUnix = nowUnix - 1;
      const counted = { observedAtUnix, stableObservationCount: 1 };
      const stableAt = (stableAtUnix: number) =>
        encodeState(nextState(lied, [active, pendingOf(2, { ...counted, stableAtUnix })]));
      await rejectsClass(store.commit(stableAt(Number.MAX_SAFE_INTEGER)), 'state_rollback');
      assert.is((await store.commit(stableAt(observedAtUnix))).outcome, 'saved', 'as the honest plugin says');
    },
    () => clockUnix,
  );
});

test('refused: a promotion of what was never stable on disk', () =>
  withStore([one, waiting], async (store) => {
    const counted = { stableObservationCount: 1, stableAtUnix: nowUnix };
    const promoted = [snapshot(2, { ...counted, promotedAtUnix: nowUnix }), snapshot(1, { state: 'retired' })];
    await rejectsClass(store.commit(encodeState(nextState(waiting, promoted))), 'state_rollback');
  }));

test('refused: a proposal in another form than it would be written in, however legal', () =>
  withStore([one], async (store, text) => {
    const before = text();
    const compact = JSON.stringify(JSON.parse(encodeState(waiting)));
    assert.is(parseState(compact).currentHash, waiting.currentHash, 'the same state');
    await rejectsClass(store.commit(compact), 'state_corrupt');
    assert.is(text(), before);
  }));

test.run();
