// The checkpoint: generation and hash of the last state known to be durable. An anchor against replay, no seal.

import { ProviderError } from '../errors/error.ts';
import { indentedJson } from '../text/canonical-json.ts';
import { parseStrictJson } from '../text/strict-json.ts';
import { isStateHash, Members, type RegistryState } from './state.ts';

export type Checkpoint = { readonly generation: number; readonly currentHash: string };

export const checkpointSchemaVersion = 'keyregistry.openbao-kms/checkpoint/v1alpha1';
/** Largest checkpoint file that is read, bytes. */
export const maxCheckpointBytes = 4 * 1024;

export function checkpointOf(state: RegistryState): Checkpoint {
  return { generation: state.generation, currentHash: state.currentHash };
}

export function encodeCheckpoint(checkpoint: Checkpoint): string {
  return indentedJson({
    schemaVersion: checkpointSchemaVersion,
    generation: checkpoint.generation,
    currentHash: checkpoint.currentHash,
  });
}

/**
 * Reads a checkpoint file.
 *
 * @param text  at most 4 KiB
 * @throws ProviderError `state_corrupt`
 */
export function parseCheckpoint(text: string): Checkpoint {
  if (Buffer.byteLength(text, 'utf8') > maxCheckpointBytes) throw corrupt();
  const file = new Members(parseStrictJson(text), 'the checkpoint');
  const schema = file.text('schemaVersion');
  const checkpoint = { generation: file.integer('generation'), currentHash: file.text('currentHash') };
  file.end();
  if (schema !== checkpointSchemaVersion || checkpoint.generation < 1 || !isStateHash(checkpoint.currentHash)) {
    throw corrupt();
  }
  return checkpoint;
}

function corrupt(): ProviderError {
  return new ProviderError('state_corrupt', 'the checkpoint is malformed; restore state and checkpoint from backup');
}
