// Annotations: what stands beside each ciphertext in etcd. Built from the snapshot that encrypted; parsed strictly and
// compared with the snapshot that is to decrypt (spec/formats 4.4). Received values never choose a key.

import { ProviderError } from '../../shared/errors/error.ts';
import { maxTransitVersion } from '../../shared/registry/key-id.ts';
import type { Snapshot } from '../../shared/registry/state.ts';
import { isHashText } from '../../shared/text/base64url.ts';
import { hashText } from '../../shared/text/hash.ts';

export type Annotations = ReadonlyMap<string, string>;

export const annotationNames = {
  provider: 'provider.kms.openbao.org',
  keyIdHash: 'key-id-hash.kms.openbao.org',
  transitKeyVersion: 'transit-key-version.kms.openbao.org',
  transitMountHash: 'transit-mount-hash.kms.openbao.org',
  transitKeyHash: 'transit-key-hash.kms.openbao.org',
  namespaceHash: 'openbao-namespace-hash.kms.openbao.org',
  pluginVersion: 'plugin-version.kms.openbao.org',
  aadVersion: 'aad-version.kms.openbao.org',
} as const;

const providerMarker = 'openbao-transit';
const aadVersion = 'v1';

/** What a plugin version may look like; it is stored beside every ciphertext. */
export const pluginVersionPattern = /^[0-9A-Za-z.+_-]{1,128}$/u;

/** The annotations of a ciphertext made with this snapshot: 7, or 8 with a namespace. */
export function buildAnnotations(snapshot: Snapshot, pluginVersion: string): Annotations {
  const annotations = new Map<string, string>([
    [annotationNames.provider, providerMarker],
    [annotationNames.keyIdHash, hashText(snapshot.kubernetesKeyId)],
    [annotationNames.transitKeyVersion, String(snapshot.transitVersion)],
    [annotationNames.transitMountHash, hashText(snapshot.transitMountId)],
    [annotationNames.transitKeyHash, hashText(snapshot.transitKeyLineageId)],
    [annotationNames.pluginVersion, pluginVersion],
    [annotationNames.aadVersion, aadVersion],
  ]);
  if (snapshot.openbaoNamespace !== '') {
    annotations.set(annotationNames.namespaceHash, hashText(snapshot.openbaoNamespace));
  }
  return annotations;
}

/** What must stand beside a ciphertext of a snapshot, worked out once; the version of the plugin may be any. */
export type ExpectedAnnotations = { readonly snapshot: Snapshot; readonly truths: Annotations };

/** What every ciphertext of this snapshot has beside it, whichever version of the plugin wrote it. */
export function expectAnnotations(snapshot: Snapshot): ExpectedAnnotations {
  const truths = new Map(buildAnnotations(snapshot, 'any'));
  truths.delete(annotationNames.pluginVersion);
  return { snapshot, truths };
}

/**
 * Whether received annotations are exactly what we write: each of them is known and true, and none is missing. Then there is nothing to
 * parse; whatever else they are is for `parseAnnotations` and `checkAnnotations` to say.
 */
export function areOurs(annotations: Annotations, { truths }: ExpectedAnnotations): boolean {
  // control: annotations.complete
  if (annotations.size !== truths.size + 1 || !annotations.get(annotationNames.pluginVersion)) return false;
  for (const [name, truth] of truths) {
    if (annotations.get(name) !== truth) return false; // control: annotations.true
  }
  return true;
}

/** Received annotations that have the right form; nothing is known yet about whether they are true. */
export type ParsedAnnotations = {
  readonly transitKeyVersion: number;
  readonly keyIdHash: string;
  readonly transitMountHash: string;
  readonly transitKeyHash: string;
  readonly namespaceHash: string | undefined;
};

/**
 * Checks the form of received annotations, first failure wins; additional well-formed names are ignored.
 *
 * @throws ProviderError `annotation_invalid`; facts: check, the row of the table (spec/formats 4.2)
 */
export function parseAnnotations(annotations: Annotations): ParsedAnnotations {
  const demand = (holds: boolean, check: number) => {
    if (!holds) throw new ProviderError('annotation_invalid', 'annotations invalid', { facts: { check } });
  };
  const textOf = (name: string) => annotations.get(name) ?? '';
  demand(annotations.size > 0, 1); // control: annotations.present
  demand([...annotations.keys()].every(isAnnotationName), 2);
  demand(textOf(annotationNames.provider) === providerMarker, 3);
  demand(isHashText(textOf(annotationNames.keyIdHash)), 4);
  demand(isHashText(textOf(annotationNames.transitMountHash)), 5);
  demand(isHashText(textOf(annotationNames.transitKeyHash)), 6);
  const namespaceHash = annotations.get(annotationNames.namespaceHash);
  demand(namespaceHash === undefined || isHashText(namespaceHash), 7);
  const transitKeyVersion = parseVersion(textOf(annotationNames.transitKeyVersion));
  demand(transitKeyVersion !== undefined, 8);
  demand(textOf(annotationNames.pluginVersion) !== '', 9);
  demand(textOf(annotationNames.aadVersion) === aadVersion, 10); // control: annotations.aad-version
  return {
    transitKeyVersion: transitKeyVersion ?? 0,
    keyIdHash: textOf(annotationNames.keyIdHash),
    transitMountHash: textOf(annotationNames.transitMountHash),
    transitKeyHash: textOf(annotationNames.transitKeyHash),
    namespaceHash,
  };
}

/**
 * Drops the annotations that we do not know, after looking at their names: only the known ones are worth keeping for as long as a
 * call may wait.
 *
 * @returns `isWellNamed`: false when one of the names, known or not, is no annotation name (spec/formats 4.3)
 */
export function keepKnown(annotations: Annotations): { readonly kept: Annotations; readonly isWellNamed: boolean } {
  const kept = new Map<string, string>();
  let isWellNamed = true;
  for (const [name, value] of annotations) {
    if (known.has(name)) kept.set(name, value);
    else isWellNamed &&= isAnnotationName(name);
  }
  return { kept, isWellNamed };
}

const known: ReadonlySet<string> = new Set(Object.values(annotationNames));

/** Decimal without sign or leading zeros, 1 to 2147483647 (spec/formats 1.3). */
function parseVersion(text: string): number | undefined {
  const version = /^[1-9][0-9]{0,9}$/u.test(text) ? Number(text) : 0;
  return version >= 1 && version <= maxTransitVersion ? version : undefined;
}

/** A complete DNS name in the narrow form (spec/formats 4.3). */
function isAnnotationName(name: string): boolean {
  if (name.length < 1 || Buffer.byteLength(name, 'utf8') > 253) return false;
  const labels = name.split('.');
  return labels.length >= 2 && labels.every((label) => /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/u.test(label));
}

/**
 * Compares parsed annotations with the snapshot that the key_id named (spec/formats 4.4).
 *
 * @throws ProviderError `aad_mismatch`
 */
export function checkAnnotations(annotations: ParsedAnnotations, snapshot: Snapshot): void {
  const namespaceHash = snapshot.openbaoNamespace === '' ? undefined : hashText(snapshot.openbaoNamespace);
  const isMatch =
    annotations.transitKeyVersion === snapshot.transitVersion &&
    annotations.keyIdHash === hashText(snapshot.kubernetesKeyId) &&
    annotations.transitMountHash === hashText(snapshot.transitMountId) &&
    annotations.transitKeyHash === hashText(snapshot.transitKeyLineageId) &&
    annotations.namespaceHash === namespaceHash;
  if (!isMatch) throw new ProviderError('aad_mismatch', 'annotations do not match key snapshot');
}
