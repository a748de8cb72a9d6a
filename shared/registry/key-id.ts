// key_id: what names one Transit key version of one cluster, everywhere and for ever. A change of one byte here makes
// stored data unreadable (spec/formats 3.2).

import { createHash } from 'node:crypto';
import { ProviderError } from '../errors/error.ts';
import { decodeBase64url } from '../text/base64url.ts';

/** The labels that make a key_id; fixed for the life of the encrypted data. `openbaoNamespace` is '' when there is none. */
export type Identity = {
  readonly providerName: string;
  readonly clusterId: string;
  readonly openbaoInstanceId: string;
  readonly openbaoNamespace: string;
  readonly transitMountId: string;
  readonly transitKeyLineageId: string;
};

/** One Transit version: number from 1, creation in whole Unix seconds from 1. */
export type KeyVersion = { readonly transitVersion: number; readonly transitVersionCreatedAtUnix: number };

const domain = 'openbao-kubernetes-kms/key-id/v1';
const prefix = 'obk2.';
const keyIdLength = 48;

/** The greatest version that annotations can carry: a 32-bit signed integer. */
export const maxTransitVersion = 2_147_483_647;

/**
 * Derives the key_id, 48 ASCII characters.
 *
 * @throws ProviderError `profile_invalid` when a part is empty, holds NUL, or version or creation time is below 1
 * @see spec/formats 3.2: each part is closed by one NUL, the last one too; no part for an empty namespace
 */
export function deriveKeyId(identity: Identity, version: KeyVersion): string {
  const required = [identity.providerName, identity.clusterId, identity.openbaoInstanceId];
  const namespace = identity.openbaoNamespace === '' ? [] : [checkedNamespace(identity.openbaoNamespace)];
  const labels = [identity.transitMountId, identity.transitKeyLineageId];
  const numbers = [decimal(version.transitVersion), decimal(version.transitVersionCreatedAtUnix)];
  const parts = [domain, ...required, ...namespace, ...labels, ...numbers];
  // control: key-id.no-nul
  if (parts.some((part) => part === '' || part.includes('\0')))
    throw underivable('an identity label is empty or holds NUL');
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part, 'utf8').update('\0'); // control: key-id.separator
  return prefix + hash.digest('base64url');
}

function decimal(number: number): string {
  if (!Number.isSafeInteger(number) || number < 1) throw underivable('a version or creation time is below 1');
  return String(number);
}

function checkedNamespace(namespace: string): string {
  if (namespaceProblem(namespace) !== undefined)
    throw underivable('the namespace has a form that OpenBao does not use');
  return namespace;
}

function underivable(reason: string): ProviderError {
  return new ProviderError('profile_invalid', `no key_id can be derived: ${reason}`);
}

/** White space by the Unicode property, and U+FEFF, at either end of a text. */
const outerSpace = /^[\p{White_Space}\u{FEFF}]|[\p{White_Space}\u{FEFF}]$/u;

/** Whether white space stands at either end, by the Unicode property plus U+FEFF. */
export function hasOuterSpace(text: string): boolean {
  return outerSpace.test(text);
}

/**
 * What is wrong with a namespace, or undefined. The empty one is fine.
 *
 * @see spec/formats 2.2
 */
export function namespaceProblem(namespace: string): 'space' | 'control' | 'slash' | 'percent' | 'segment' | undefined {
  if (namespace === '') return undefined;
  if (hasOuterSpace(namespace)) return 'space';
  if (/[\0\r\n\t]/u.test(namespace)) return 'control';
  if (namespace.startsWith('/') || namespace.includes('//')) return 'slash';
  if (namespace.includes('%')) return 'percent';
  const isBadSegment = (segment: string) => segment === '' || segment === '.' || segment === '..';
  return namespace.split('/').some(isBadSegment) ? 'segment' : undefined;
}

/**
 * Refuses a key_id that no derivation can have made.
 *
 * @throws ProviderError `key_id_malformed`; facts: sizeBytes
 * @see spec/formats 3.3: strict base64url
 */
export function parseKeyId(keyId: string): string {
  const sizeBytes = Buffer.byteLength(keyId, 'utf8');
  const isWellFormed =
    sizeBytes === keyIdLength && keyId.startsWith(prefix) && decodeBase64url(keyId.slice(prefix.length))?.length === 32;
  if (!isWellFormed) throw new ProviderError('key_id_malformed', 'key_id malformed', { facts: { sizeBytes } });
  return keyId;
}
