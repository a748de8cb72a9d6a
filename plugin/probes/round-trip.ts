// What a deep probe does: 32 random bytes are encrypted with one version of the key and decrypted again.

import { timingSafeEqual } from 'node:crypto';
import { ProviderError } from '../../shared/errors/error.ts';
import type { Transit } from '../transit/transit.ts';

/** The probe's associated data: no JSON, so it can never equal that of a KMS call. */
const probeAad = Buffer.from('openbao-kubernetes-kms/status-probe/v1', 'utf8');
const probeBytes = 32;
const maxCiphertextBytes = 1023;

export type RoundTripDeps = {
  readonly transit: Pick<Transit, 'encrypt' | 'decrypt'>;
  readonly randomBytes: (sizeBytes: number) => Buffer;
};

/** @throws ProviderError `deep_probe_invalid` for other bytes or too long a ciphertext, and what Transit throws */
export async function roundTrip(deps: RoundTripDeps, keyVersion: number, signal: AbortSignal): Promise<void> {
  const plaintext = deps.randomBytes(probeBytes);
  const ciphertext = await deps.transit.encrypt({ keyVersion, plaintext, aad: probeAad }, signal);
  const decrypted = await deps.transit.decrypt({ ciphertext, aad: probeAad }, signal);
  const isSame = decrypted.length === plaintext.length && timingSafeEqual(decrypted, plaintext); // control: probe.compare-bytes
  if (!isSame) throw new ProviderError('deep_probe_invalid', 'the round trip answered other bytes than were encrypted');
  if (Buffer.byteLength(ciphertext, 'utf8') > maxCiphertextBytes) {
    throw new ProviderError('deep_probe_invalid', 'the ciphertext is too long for the API server');
  }
}
