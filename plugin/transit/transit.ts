// The Transit calls. Every encrypt names its version and its associated data; every answer is checked against what
// was asked. Knows no gRPC and no token: `send` brings both.

import { ProviderError } from '../../shared/errors/error.ts';
import { decodeBase64 } from '../../shared/text/base64.ts';
import type { KeyProfile } from '../keys/profile.ts';
import type { SendAuthorized } from '../openbao/authorized.ts';
import { operations } from '../openbao/operations.ts';
import { isObject, protocolError } from '../openbao/response.ts';
import { versionOfCiphertext } from './ciphertext.ts';
import { type BatchOutcome, batchBody, isRefusedTogether, readBatch } from './decrypt-batch.ts';
import { readKeyProfile } from './read-key-profile.ts';

export type Transit = {
  /**
   * @param keyVersion  the version to encrypt with, never "latest"
   * @returns Transit's ciphertext text, unchanged
   * @throws ProviderError `transit_response_invalid` when the answer names another version, and what `send` throws
   */
  readonly encrypt: (
    request: { readonly keyVersion: number; readonly plaintext: Uint8Array; readonly aad: Uint8Array },
    signal?: AbortSignal,
  ) => Promise<string>;
  /** @throws ProviderError `transit_response_invalid` for an empty plaintext, and what `send` throws */
  readonly decrypt: (
    request: { readonly ciphertext: string; readonly aad: Uint8Array },
    signal?: AbortSignal,
  ) => Promise<Buffer>;
  /**
   * Several in one request. One outcome for each, in their order; undefined: it is unclear, and to be asked for alone.
   *
   * @returns undefined: OpenBao refused the request as a whole, and each is to be asked for alone
   * @throws ProviderError for all of them: what `send` throws when OpenBao is not there or cannot serve
   */
  readonly decryptTogether: (
    requests: readonly { readonly ciphertext: string; readonly aad: Uint8Array }[],
    signal?: AbortSignal,
  ) => Promise<readonly BatchOutcome[] | undefined>;
  readonly readKey: (signal?: AbortSignal) => Promise<KeyProfile>;
  /** Whether the mount refuses to make keys by accident. */
  readonly readUpsertDisabled: (signal?: AbortSignal) => Promise<boolean>;
};

export function createTransit(mountPath: string, keyName: string, send: SendAuthorized): Transit {
  return {
    encrypt: async ({ keyVersion, plaintext, aad }, signal) => {
      const body = { plaintext: base64(plaintext), associated_data: associated(aad), key_version: keyVersion };
      const path = `${mountPath}/encrypt/${keyName}`;
      const { data } = await send({ operation: operations.encrypt, path, body, signal });
      return readCiphertext(data, keyVersion);
    },
    decrypt: async ({ ciphertext, aad }, signal) => {
      const body = { ciphertext, associated_data: associated(aad) };
      const path = `${mountPath}/decrypt/${keyName}`;
      const { data } = await send({ operation: operations.decrypt, path, body, signal });
      return readPlaintext(data);
    },
    decryptTogether: async (requests, signal) => {
      const body = batchBody(requests.map(({ ciphertext, aad }) => ({ ciphertext, associatedData: associated(aad) })));
      const path = `${mountPath}/decrypt/${keyName}`;
      try {
        return readBatch(await send({ operation: operations.decryptBatch, path, body, signal }), requests.length);
      } catch (error) {
        if (isRefusedTogether(error)) return undefined;
        throw error;
      }
    },
    readKey: async (signal) => {
      const { data } = await send({ operation: operations.metadataRead, path: `${mountPath}/keys/${keyName}`, signal });
      return readKeyProfile(data);
    },
    readUpsertDisabled: async (signal) => {
      const { data } = await send({ operation: operations.upsertRead, path: `${mountPath}/config/keys`, signal });
      const disabled = isObject(data) ? data['disable_upsert'] : undefined;
      if (typeof disabled !== 'boolean') throw protocolError(operations.upsertRead);
      return disabled;
    },
  };
}

/** Associated data depends on the key alone, and is the same bytes for every call. */
const encoded = new WeakMap<Uint8Array, string>();

function associated(aad: Uint8Array): string {
  const known = encoded.get(aad);
  if (known !== undefined) return known;
  const text = base64(aad);
  encoded.set(aad, text);
  return text;
}

function base64(bytes: Uint8Array): string {
  if (bytes.length === 0) throw new ProviderError('internal', 'an empty value must not be sent to Transit');
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64');
}

function readCiphertext(data: unknown, keyVersion: number): string {
  if (!isObject(data)) throw protocolError(operations.encrypt);
  const { ciphertext, key_version: answered } = data;
  if (typeof ciphertext !== 'string') throw protocolError(operations.encrypt);
  const labelled = versionOfCiphertext(ciphertext);
  const isRightVersion =
    (answered === undefined || answered === 0 || answered === keyVersion) &&
    (labelled === undefined || labelled === keyVersion);
  if (ciphertext === '' || !isRightVersion) {
    throw new ProviderError('transit_response_invalid', 'Transit encrypted with another version than it was asked for');
  }
  return ciphertext;
}

function readPlaintext(data: unknown): Buffer {
  const text = isObject(data) ? data['plaintext'] : undefined;
  const plaintext = typeof text === 'string' ? decodeBase64(text) : undefined;
  if (plaintext === undefined) throw protocolError(operations.decrypt);
  if (plaintext.length === 0)
    throw new ProviderError('transit_response_invalid', 'Transit answered an empty plaintext');
  return plaintext;
}
