// Judges the pair of state and checkpoint found on disk (spec/state 3.2, spec/state 3.3). Only judges; whoever asked writes.

import { ProviderError } from '../errors/error.ts';
import type { Checkpoint } from './checkpoint.ts';
import type { BoundIdentity } from './fingerprint.ts';
import { deriveFingerprint } from './fingerprint.ts';
import type { RegistryState, Snapshot } from './state.ts';

/** `absent`: neither file. `accepted`: use it; `writeCheckpoint` says that the checkpoint has to be completed first. */
export type PairVerdict =
  | { readonly kind: 'absent' }
  | {
      readonly kind: 'accepted';
      readonly state: RegistryState;
      readonly writeCheckpoint: 'no' | 'missing' | 'behind';
    };

/**
 * @param requireCheckpoint  refuse a state after the first generation that lost its checkpoint
 * @throws ProviderError `state_rollback`: replayed, forked, with a gap, or half of the pair is gone
 */
export function judgePair(
  checkpoint: Checkpoint | undefined,
  state: RegistryState | undefined,
  requireCheckpoint: boolean,
): PairVerdict {
  if (checkpoint === undefined) return judgeWithoutCheckpoint(state, requireCheckpoint);
  if (state === undefined) throw rollback('the state is missing although its checkpoint is there');
  if (state.generation < checkpoint.generation) throw rollback('the state is older than its checkpoint'); // control: pair.older-state
  if (state.generation === checkpoint.generation) {
    // control: pair.same-generation
    if (state.currentHash !== checkpoint.currentHash) throw rollback('state and checkpoint disagree');
    return { kind: 'accepted', state, writeCheckpoint: 'no' };
  }
  if (state.generation > checkpoint.generation + 1) throw rollback('generations are missing before the state'); // control: pair.gap
  // control: pair.predecessor
  if (state.previousHash !== checkpoint.currentHash) throw rollback('the state does not follow its checkpoint');
  return { kind: 'accepted', state, writeCheckpoint: 'behind' };
}

function judgeWithoutCheckpoint(state: RegistryState | undefined, requireCheckpoint: boolean): PairVerdict {
  if (state === undefined) return { kind: 'absent' };
  // control: pair.checkpoint-required
  if (requireCheckpoint && state.generation > 1) throw rollback('the checkpoint is missing and required');
  return { kind: 'accepted', state, writeCheckpoint: 'missing' };
}

/**
 * Refuses a state that belongs to another identity, mount path or key.
 *
 * @throws ProviderError `state_binding`
 */
export function checkBinding(state: RegistryState, identity: BoundIdentity): void {
  const isOurs = (snapshot: Snapshot) =>
    snapshot.providerName === identity.providerName &&
    snapshot.clusterId === identity.clusterId &&
    snapshot.openbaoInstanceId === identity.openbaoInstanceId &&
    snapshot.openbaoNamespace === identity.openbaoNamespace &&
    snapshot.transitMountId === identity.transitMountId &&
    snapshot.transitKeyLineageId === identity.transitKeyLineageId; // control: pair.lineage
  if (state.identityFingerprint !== deriveFingerprint(identity) || !state.snapshots.every(isOurs)) {
    throw new ProviderError(
      'state_binding',
      'the registry state belongs to another identity, mount path or key than the configuration; ' +
        'set the identity fields back, or restore the state of this identity',
    );
  }
}

function rollback(what: string): ProviderError {
  return new ProviderError(
    'state_rollback',
    `${what}; restore the newest state and checkpoint together, from backup or from a peer with the same identity`,
  );
}
