// T08 and T16: a crash between state and checkpoint, and a full file system afterwards. What is accepted is served, and the rule against
// roll-back stays: no state is written while the checkpoint of the one before is owed.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { encodeState, type RegistryState } from '../../../shared/registry/state.ts';
import { StateStore } from '../../../supervisor/custody/state-store.ts';
import { createMemoryFiles, type MemoryFiles } from '../../support/memory-files.ts';
import { rejectsClass } from '../../support/throws.ts';
import { firstState, identity, nextState, snapshot } from '../../support/vectors.ts';

const pending = snapshot(2, { state: 'pending', promotedAtUnix: 0 });
const one = firstState();
const two = nextState(one, [snapshot(1), pending]);
const three = nextState(two, [snapshot(1), { ...pending, stableObservationCount: 1 }]);
const checkpointName = 'state.json.checkpoint';

/** A file of a name that `isRefused` cannot be made, for this cause. */
type Fault = { code: 'ENOSPC' | 'EROFS'; isRefused: (name: string) => boolean };

function openStore(files: MemoryFiles, fault: Fault): StateStore {
  let made = 0;
  const create = (name: string) => {
    if (fault.isRefused(name)) throw Object.assign(new Error('refused'), { code: fault.code });
    return files.create(name);
  };
  return new StateStore({
    files: { ...files, create: async (name) => create(name) },
    name: 'state.json',
    identity,
    requireCheckpoint: false,
    activationDelayMs: 0,
    nowMs: () => 0,
    nowUnix: () => 1_750_000_300,
    randomHex: () => {
      made += 1;
      return String(made).padStart(8, '0');
    },
  });
}

const nothing = (): Fault => ({ code: 'ENOSPC', isRefused: () => false });

/** The pair that a crash after the rename of the last state leaves behind. */
async function crashedAfter(...states: readonly RegistryState[]): Promise<MemoryFiles> {
  const files = createMemoryFiles();
  const store = openStore(files, nothing());
  await store.load();
  let before: string | undefined;
  for (const state of states) {
    before = files.contents.get(checkpointName);
    assert.is((await store.commit(encodeState(state))).outcome, 'saved');
  }
  if (before === undefined) files.contents.delete(checkpointName);
  else files.contents.set(checkpointName, before);
  return files;
}

for (const [what, states] of [
  ['missing', [one]],
  ['behind', [one, two]],
] as const) {
  test(`with the checkpoint ${what} and no room for it the state is served`, async () => {
    const store = openStore(await crashedAfter(...states), { code: 'ENOSPC', isRefused: () => true });
    assert.not(await store.complete(await store.load()));
    assert.is((await store.refresh()).kind, 'accepted', 'before a relaunch as well');
    assert.is(store.current?.currentHash, states.at(-1)?.currentHash);
  });
}

test('no state is written while the checkpoint before it is owed; when there is room both are', async () => {
  const files = await crashedAfter(one, two);
  const fault: Fault = { code: 'ENOSPC', isRefused: (name) => name.includes('checkpoint') };
  const store = openStore(files, fault);
  await store.complete(await store.load());
  assert.equal(await store.commit(encodeState(three)), { outcome: 'failed', onDisk: 'predecessor' });

  const restarted = openStore(files, fault);
  assert.is((await restarted.load()).kind, 'accepted');
  assert.is(restarted.current?.currentHash, two.currentHash);

  fault.isRefused = () => false;
  assert.is((await store.commit(encodeState(three))).outcome, 'saved');
  assert.equal(await openStore(files, fault).load(), { kind: 'accepted', state: three, writeCheckpoint: 'no' });
});

test('a directory that cannot be written for another reason is refused as before', async () => {
  const store = openStore(await crashedAfter(one, two), { code: 'EROFS', isRefused: () => true });
  const verdict = await store.load();
  await rejectsClass(store.complete(verdict), 'state_save_failed');
});

test.run();
