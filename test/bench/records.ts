// A key with many versions, all of them accepted: what eleven years of rotations leave, made in minutes.

import { readFileSync, writeFileSync } from 'node:fs';
import { checkpointOf, encodeCheckpoint } from '../../shared/registry/checkpoint.ts';
import { deriveKeyId } from '../../shared/registry/key-id.ts';
import { encodeState, parseState, type Snapshot, sealState } from '../../shared/registry/state.ts';
import { type Admin, defaultInstallation } from '../support/openbao/provision.ts';
import type { Workplace } from '../support/workplace.ts';

const keyPath = `${defaultInstallation.mountPath}/keys/${defaultInstallation.keyName}`;

async function versionsOf(admin: Admin): Promise<ReadonlyMap<number, number>> {
  const { body } = await admin.call('GET', keyPath);
  const { keys } = body['data'] as { keys: Record<string, number> };
  return new Map(Object.entries(keys).map(([version, createdAtUnix]) => [Number(version), createdAtUnix]));
}

/** Rotates the key in OpenBao until it has that many versions, quicker than any provider would take them. */
export async function rotateTo(admin: Admin, count: number): Promise<void> {
  for (let have = (await versionsOf(admin)).size; have < count; have += 1)
    await admin.call('POST', `${keyPath}/rotate`);
}

/** Writes the state that accepts every version of the key, the newest active. The provider must not run, and must have run. */
export async function acceptAll(admin: Admin, { statePath }: Workplace): Promise<void> {
  const state = parseState(readFileSync(statePath, 'utf8'));
  const [template] = state.snapshots;
  if (template === undefined) throw new Error('the state has no record');
  const versions = await versionsOf(admin);
  const snapshots = [...versions].map(([transitVersion, transitVersionCreatedAtUnix]): Snapshot => {
    const version = { transitVersion, transitVersionCreatedAtUnix };
    const isActive = transitVersion === versions.size;
    const kubernetesKeyId = deriveKeyId(template, version);
    return { ...template, ...version, kubernetesKeyId, state: isActive ? 'active' : 'retired' };
  });
  const { identityFingerprint, generation, currentHash } = state;
  const activeKeyId = snapshots.at(-1)?.kubernetesKeyId ?? '';
  const next = sealState({
    ...{ identityFingerprint, generation: generation + 1, previousHash: currentHash, activeKeyId, snapshots },
  });
  // Owner and mode stay those of the files that are there.
  writeFileSync(statePath, encodeState(next));
  writeFileSync(`${statePath}.checkpoint`, encodeCheckpoint(checkpointOf(next)));
}
