// T08 registry state rolled back: on real files, every replay is refused and left as it was.

import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { encodeState, type RegistryState } from '../../../shared/registry/state.ts';
import { pinDirectory } from '../../../supervisor/custody/pinned-directory.ts';
import { createStateFiles } from '../../../supervisor/custody/state-files.ts';
import { StateStore } from '../../../supervisor/custody/state-store.ts';
import { until, withInstallation } from '../../support/installation.ts';
import { untilHealthy } from '../../support/provider.ts';
import { rejectsClass } from '../../support/throws.ts';
import { firstState, identity, nextState, snapshot } from '../../support/vectors.ts';

const pending = snapshot(2, { state: 'pending', promotedAtUnix: 0 });
const one = firstState();
const two = nextState(one, [snapshot(1), pending]);
const three = nextState(two, [snapshot(1), { ...pending, stableObservationCount: 1 }]);
const forkOfTwo = nextState(one, [snapshot(1), { ...pending, stableObservationCount: 1 }]);
const forkOfThree = nextState(forkOfTwo, [snapshot(1), { ...pending, stableObservationCount: 2 }]);
const uid = process.geteuid?.() ?? -1;

async function withStore(
  states: readonly RegistryState[],
  run: (path: string, reopen: () => StateStore) => Promise<void>,
): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'bao-kms-t08-'));
  chmodSync(directory, 0o750);
  const pinned = pinDirectory(directory, 'state', uid);
  const open = () =>
    new StateStore({
      files: createStateFiles(pinned, uid),
      name: 'state.json',
      identity,
      requireCheckpoint: false,
      activationDelayMs: 0,
      nowMs: () => 0,
      nowUnix: () => 1_750_000_300,
      randomHex: () => '0badcafe',
    });
  try {
    const store = open();
    await store.load();
    for (const state of states) assert.is((await store.commit(encodeState(state))).outcome, 'saved');
    await run(join(directory, 'state.json'), open);
  } finally {
    pinned.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

for (const [what, history, replayed] of [
  ['an older state', [one, two], one],
  ['another state of the same generation', [one, two], forkOfTwo],
  ['a successor of another history', [one, two], forkOfThree],
  ['a state two generations ahead', [one], three],
] as const) {
  test(`${what} is refused and left as it was`, () =>
    withStore(history, async (path, reopen) => {
      writeFileSync(path, encodeState(replayed));
      const before = readFileSync(path, 'utf8');
      await rejectsClass(reopen().load(), 'state_rollback');
      assert.is(readFileSync(path, 'utf8'), before);
    }));
}

test('a state that lost its file is refused while the checkpoint survives', () =>
  withStore([one, two], async (path, reopen) => {
    rmSync(path);
    await rejectsClass(reopen().load(), 'state_rollback');
  }));

test('a state with an altered member is refused', () =>
  withStore([one], async (path, reopen) => {
    writeFileSync(path, encodeState(one).replace('edge-cluster-07', 'edge-cluster-08'));
    await rejectsClass(reopen().load(), 'state_corrupt');
  }));

test('the real serve refuses a replayed state with exit 5 and says what to restore', () =>
  withInstallation(async ({ start, engine, workplace }) => {
    const first = start();
    await untilHealthy(first);
    const old = readFileSync(workplace.statePath, 'utf8');
    engine.handle('write', 'keys/k8s-demo-etcd/rotate', {}, Math.floor(Date.now() / 1000));
    await until(() => readFileSync(workplace.statePath, 'utf8') !== old, 'the state with the newer version');
    await first.stop();
    writeFileSync(workplace.statePath, old);
    execFileSync('chmod', ['0640', workplace.statePath]);
    const second = start();
    assert.is(await second.exited, 5);
    const refusal = second.log.find(({ message }) => message === 'gate.refused');
    assert.equal([refusal?.['check'], refusal?.['reason']], ['gate.state', 'state_rollback']);
    assert.is(readFileSync(workplace.statePath, 'utf8'), old);
  }));

test.run();
