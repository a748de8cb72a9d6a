// Saving: stopped after each of its file operations in turn, what is found next is always the old or the new state.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { deriveFingerprint } from '../../../../shared/registry/fingerprint.ts';
import { encodeState, type RegistryState, sealState } from '../../../../shared/registry/state.ts';
import { StateStore } from '../../../../supervisor/custody/state-store.ts';
import { createMemoryFiles, type MemoryFiles } from '../../../support/memory-files.ts';
import { rejectsClass } from '../../../support/throws.ts';
import { content, firstState, identity, nextState, snapshot } from '../../../support/vectors.ts';

/** A threshold of one: stable at the first count. */
const stable = { stableObservationCount: 1, stableAtUnix: 1_750_000_200 };
const pending = snapshot(2, { state: 'pending', promotedAtUnix: 0 });
const one = firstState();
const two = nextState(one, [snapshot(1), pending]);

let nowMs = 0;
function storeOn(files: MemoryFiles, nowUnix = () => 1_750_000_300): StateStore {
  let counter = 0;
  return new StateStore({
    files,
    name: 'key-registry.json',
    identity,
    requireCheckpoint: false,
    activationDelayMs: 120_000,
    nowMs: () => nowMs,
    nowUnix,
    randomHex: () => {
      counter += 1;
      return String(counter).padStart(8, '0');
    },
  });
}

async function saved(...states: readonly RegistryState[]): Promise<MemoryFiles> {
  const files = createMemoryFiles();
  const store = storeOn(files);
  await store.load();
  for (const state of states) assert.is((await store.commit(encodeState(state))).outcome, 'saved');
  files.done.length = 0;
  return files;
}

test('a save does its steps in their order, state first, then checkpoint', async () => {
  const files = await saved();
  const store = storeOn(files);
  await store.load();
  files.done.length = 0;
  await store.commit(encodeState(one));

  const each = [
    'checkDirectory',
    'checkTarget',
    'create',
    'write',
    'chmod',
    'sync',
    'close',
    'checkDirectory',
    'rename',
    'syncDirectory',
  ];
  assert.equal(files.done, [...each, ...each]);
  assert.equal([...files.contents.keys()], ['key-registry.json', 'key-registry.json.checkpoint']);
});

for (let operation = 1; operation <= 20; operation += 1) {
  test(`a crash at operation ${operation} of a save leaves the old or the new state, and the next start needs no help`, async () => {
    const files = await saved(one);
    const store = storeOn(files);
    await store.load();
    files.done.length = 0;
    files.failFrom = operation;
    const result = await store.commit(encodeState(two));
    assert.is(result.outcome, 'failed');

    files.failFrom = 0;
    const next = storeOn(files);
    const verdict = await next.load();
    assert.ok(verdict.kind === 'accepted');
    assert.ok(
      [one.currentHash, two.currentHash].includes(verdict.kind === 'accepted' ? verdict.state.currentHash : ''),
    );
    await next.complete(verdict);
    const left = [...files.contents.keys()].filter((name) => name.startsWith('.'));
    assert.equal(left, [], 'temporary files are swept');
  });

  test(`a failure at operation ${operation} is finished later by the same bytes and by no others`, async () => {
    const files = await saved(one);
    const store = storeOn(files);
    await store.load();
    files.done.length = 0;
    files.failFrom = operation;
    files.isOneFailure = true;
    const failed = await store.commit(encodeState(two));
    assert.is(failed.outcome, 'failed');
    assert.ok(['predecessor', 'attempted', 'other'].includes(failed.onDisk));

    files.failFrom = 0;
    assert.is((await store.commit(encodeState(two))).outcome, 'saved');
    assert.is(store.current?.currentHash, two.currentHash);
  });
}

test('files that changed since a failed save stop the recovery', async () => {
  const files = await saved(one);
  const store = storeOn(files);
  await store.load();
  files.done.length = 0;
  files.failFrom = 4;
  files.isOneFailure = true;
  await store.commit(encodeState(two));
  files.failFrom = 0;
  const fork = nextState(one, [snapshot(1), { ...pending, stableObservationCount: 1 }]);
  files.contents.set('key-registry.json', encodeState(fork));

  assert.equal(await store.commit(encodeState(two)), { outcome: 'failed', onDisk: 'other' });
  assert.is(files.contents.get('key-registry.json'), encodeState(fork));
});

test('an illegal successor is refused and nothing is written', async () => {
  const files = await saved(one, two);
  const store = storeOn(files);
  await store.load();
  files.done.length = 0;

  await rejectsClass(store.commit(encodeState(one)), 'state_rollback');
  await rejectsClass(store.commit('{}'), 'state_corrupt');
  assert.equal(files.done, []);
});

test('a promotion is refused before the activation delay has passed since the record was seen stable', async () => {
  const waiting = nextState(two, [snapshot(1), { ...pending, ...stable }]);
  const promoted = nextState(waiting, [
    snapshot(2, { ...stable, promotedAtUnix: 1_750_000_300 }),
    snapshot(1, { state: 'retired' }),
  ]);
  const files = await saved(one, two);
  const store = storeOn(files);
  nowMs = 1_000;
  await store.load();
  await store.commit(encodeState(waiting));
  nowMs += 119_999;
  await rejectsClass(store.commit(encodeState(promoted)), 'state_rollback');
  nowMs += 1;

  assert.is((await store.commit(encodeState(promoted))).outcome, 'saved');
});

test('loading twice does not start the activation delay again', async () => {
  const waiting = nextState(two, [snapshot(1), { ...pending, ...stable }]);
  const store = storeOn(await saved(one, two, waiting));
  nowMs = 5_000;
  await store.load();
  nowMs = 65_000;
  await store.load();

  assert.equal(store.stable, { keyId: pending.kubernetesKeyId, elapsedMs: 60_000 });
});

test('a missing checkpoint and one that is behind are completed', async () => {
  const files = await saved(one, two);
  const checkpoint = files.contents.get('key-registry.json.checkpoint');
  files.contents.delete('key-registry.json.checkpoint');
  const store = storeOn(files);
  await store.complete(await store.load());

  assert.is(files.contents.get('key-registry.json.checkpoint'), checkpoint);
});

test('the checkpoint that was found is known as it was found', async () => {
  const files = await saved(one, two);
  const store = storeOn(files);
  assert.is(store.checkpoint, undefined);
  await store.load();
  assert.equal(store.checkpoint, { generation: 2, currentHash: two.currentHash });
});

test('a checkpoint that is behind is completed', async () => {
  const files = await saved(one);
  const behind = files.contents.get('key-registry.json.checkpoint') ?? '';
  const store = storeOn(files);
  await store.load();
  await store.commit(encodeState(two));
  const complete = files.contents.get('key-registry.json.checkpoint');
  files.contents.set('key-registry.json.checkpoint', behind);
  const next = storeOn(files);
  await next.refresh();

  assert.is(files.contents.get('key-registry.json.checkpoint'), complete);
});

const foreignIdentity = { ...identity, clusterId: 'another-cluster' };
const foreign = (before?: RegistryState) => {
  const record = snapshot(1, { clusterId: foreignIdentity.clusterId });
  const identityFingerprint = deriveFingerprint(foreignIdentity);
  const follows = before && { generation: before.generation + 1, previousHash: before.currentHash };
  return sealState(content({ identityFingerprint, snapshots: [record], ...follows }));
};

test('a state of another identity is neither accepted as the first nor loaded nor written as a transition', async () => {
  const files = createMemoryFiles();
  const store = storeOn(files);
  await store.load();
  files.done.length = 0;
  await rejectsClass(store.commit(encodeState(foreign())), 'state_binding');
  assert.equal([files.done, files.contents.size], [[], 0]);

  files.contents.set('key-registry.json', encodeState(foreign()));
  await rejectsClass(store.load(), 'state_binding');
  assert.is(store.current, undefined);

  const ours = await saved(one);
  const other = storeOn(ours);
  await other.load();
  ours.done.length = 0;
  await rejectsClass(other.saveTransition(foreign(one)), 'state_binding');
  assert.equal(ours.done, []);
});

test('a transition is written when it follows what is on disk, and not otherwise', async () => {
  const files = await saved(one, two);
  const store = storeOn(files);
  await store.load();
  files.done.length = 0;
  const records = [snapshot(1)];
  const later = sealState(content({ snapshots: records, generation: 4, previousHash: two.currentHash }));
  const fork = sealState(content({ snapshots: records, generation: 3, previousHash: one.currentHash }));
  for (const wrong of [later, fork]) await rejectsClass(store.saveTransition(wrong), 'state_rollback');
  assert.equal(files.done, []);

  const next = nextState(two, records);
  assert.is((await store.saveTransition(next)).outcome, 'saved');
  assert.is(files.contents.get('key-registry.json'), encodeState(next));
});

test('a state in another encoding is refused, also of the same length', async () => {
  const files = await saved(one);
  const store = storeOn(files);
  await store.load();
  files.done.length = 0;
  const text = encodeState(two);
  const [first = '', second = ''] = text.match(/"generation": 2,\n|"previousHash": "[^"]*",\n/gu) ?? [];
  const swapped = text.replace(first, '\0').replace(second, first).replace('\0', second);
  assert.is.not(swapped, text);
  await rejectsClass(store.commit(swapped), 'state_corrupt');
  assert.equal(files.done, []);
});

test('a promotion of another record than the one that waited is refused', async () => {
  const waiting = nextState(two, [snapshot(1), { ...pending, ...stable }]);
  const store = storeOn(await saved(one, two, waiting));
  nowMs = 1_000_000;
  await store.load();
  nowMs += 1_000_000;
  const other = snapshot(3, { ...stable, promotedAtUnix: 1_750_000_300 });
  const retired = [snapshot(1, { state: 'retired' }), { ...pending, ...stable, state: 'retired' as const }];
  const refusal = await rejectsClass(
    store.commit(encodeState(nextState(waiting, [other, ...retired]))),
    'state_rollback',
  );
  assert.match(refusal.message, /activation delay/u);
});

test('that the clock was set back is known after the proposal that could not be judged, and gone after the next', async () => {
  let nowUnix = 1_500_000_000;
  const files = await saved(one);
  const store = storeOn(files, () => nowUnix);
  await store.load();
  assert.not.ok(store.isClockBehind);
  await store.commit(encodeState(two));
  assert.ok(store.isClockBehind);
  nowUnix = 1_750_000_300;
  await store.commit(
    encodeState(nextState(two, [snapshot(1), snapshot(2, { ...pending, stableObservationCount: 1 })])),
  );
  assert.not.ok(store.isClockBehind);
});

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

for (let turns = 0; turns <= 12; turns += 1) {
  test(`a pair that is read again, and a state proposed ${turns} turns later: neither sees the other half way`, async () => {
    const memory = await saved(one);
    // What was read is handed out a while later, as by a disk.
    const files = {
      ...memory,
      read: async (name: string, maxBytes: number) => {
        const text = await memory.read(name, maxBytes);
        for (let count = 0; count < 5; count += 1) await turn();
        return text;
      },
    };
    const store = storeOn(files);
    await store.load();
    const refreshing = store.refresh();
    for (let count = 0; count < turns; count += 1) await turn();
    await Promise.all([refreshing, store.commit(encodeState(two))]);

    assert.is(store.current?.currentHash, two.currentHash);
    const counted = { ...pending, stableObservationCount: 1 };
    const three = nextState(two, [snapshot(1), snapshot(2, counted)]);
    assert.is((await store.commit(encodeState(three))).outcome, 'saved', 'the next one follows');
  });
}

test('a state in another encoding than a file has is refused: what was checked is what is written', async () => {
  const files = await saved(one);
  const store = storeOn(files);
  await store.load();
  await rejectsClass(store.commit(`${encodeState(two)} `), 'state_corrupt');
  assert.equal(files.done.includes('rename'), false);
});

test.run();
