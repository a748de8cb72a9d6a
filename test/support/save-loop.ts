// A process that saves one successor after the other as fast as it can, until somebody kills it. Prints a line per save.

import { basename, dirname } from 'node:path';
import { encodeState } from '../../shared/registry/state.ts';
import { pinDirectory } from '../../supervisor/custody/pinned-directory.ts';
import { createStateFiles } from '../../supervisor/custody/state-files.ts';
import { StateStore } from '../../supervisor/custody/state-store.ts';
import { clock, randomHex } from '../../supervisor/system.ts';
import { firstState, identity, nextState, snapshot } from './vectors.ts';

const path = process.argv[2] ?? '';
const uid = process.geteuid?.() ?? -1;
const store = new StateStore({
  files: createStateFiles(pinDirectory(dirname(path), 'state', uid), uid),
  name: basename(path),
  identity,
  requireCheckpoint: false,
  activationDelayMs: 0,
  nowMs: clock.nowMs,
  nowUnix: () => 1_750_000_300,
  randomHex,
});
await store.complete(await store.load());
process.stdout.write(`loaded ${store.current?.generation ?? 0}\n`);
for (;;) {
  const before = store.current;
  // The generation grows with each save; the records have nothing to add.
  const pending = snapshot(2, { state: 'pending', promotedAtUnix: 0 });
  const next = before === undefined ? firstState() : nextState(before, [snapshot(1), pending]);
  const { outcome } = await store.commit(encodeState(next));
  process.stdout.write(`${outcome} ${next.generation}\n`);
}
