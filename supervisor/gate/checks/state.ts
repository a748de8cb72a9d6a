// Check 7: state and checkpoint belong together, and to the identity of the configuration.

import type { Config } from '../../../shared/config/config.ts';
import { type PinnedDirectory, splitPath } from '../../custody/pinned-directory.ts';
import { createStateFiles } from '../../custody/state-files.ts';
import { StateStore } from '../../custody/state-store.ts';
import type { GateCheck, GateDeps } from './check.ts';

export const state: GateCheck<'loaded' | 'stateDirectory', 'store' | 'pair'> = {
  title: 'state and checkpoint are intact, and belong to each other and to this identity',
  needs: ['loaded', 'stateDirectory'],
  gives: ['store', 'pair'],
  look: async ({ loaded, stateDirectory }, { deps }) => {
    const store = openStore(stateDirectory, loaded.config, deps); // step: state.open
    return { store, pair: await store.load() };
  },
};

/** Reads nothing yet. */
function openStore(directory: PinnedDirectory, config: Config, deps: GateDeps): StateStore {
  return new StateStore({
    files: createStateFiles(directory, deps.identity.uid),
    name: splitPath(config.state.path).name,
    identity: config.identity,
    requireCheckpoint: config.state.requireCheckpoint,
    activationDelayMs: config.rotation.activationDelayMs,
    nowMs: deps.clock.nowMs,
    nowUnix: () => Math.floor(deps.clock.wallMs() / 1000),
    randomHex: deps.randomHex,
  });
}
