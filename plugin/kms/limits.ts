// Sizes of the KMS v2 contract, each one byte stricter than the API server's own check (spec/kms 1.1).

import { isUtf8 } from 'node:buffer';
import { ProviderError } from '../../shared/errors/error.ts';
import { maxAnnotations, maxAnnotationValueBytes } from './bounds.ts';

/** Largest gRPC message in either direction, bytes. */
export const maxMessageBytes = 65_536;
/** Ciphertext and key_id: 1 to 1023 bytes. */
export const maxFieldBytes = 1_023;
/** Annotations: sum of key and value lengths, bytes. */
export const maxAnnotationBytes = 32_767;
/** Largest plaintext whose ciphertext fits at any version, bytes. */
export const maxPlaintextBytes = 725;

export type WireAnnotations = ReadonlyMap<string, Uint8Array>;

/**
 * Checks sizes of a Decrypt request in their order (spec/kms 4.1).
 *
 * @throws ProviderError `request_limit`
 */
export function checkRequestSizes(ciphertext: Uint8Array, keyId: string): void {
  if (ciphertext.length > maxFieldBytes) throw overLimit('ciphertext', ciphertext.length); // control: limits.ciphertext
  const keyIdBytes = Buffer.byteLength(keyId, 'utf8');
  if (keyIdBytes > maxFieldBytes) throw overLimit('key_id', keyIdBytes);
}

/**
 * Turns received annotations into text: all of them must be UTF-8 before any size counts, so the answer does not depend on
 * the order of the map.
 *
 * @throws ProviderError `annotation_invalid`, then `request_limit`
 */
export function decodeAnnotations(wire: WireAnnotations): ReadonlyMap<string, string> {
  const annotations = new Map<string, string>();
  for (const [name, value] of wire) annotations.set(name, decodeUtf8(value));
  const sizeBytes = annotationBytes(annotations);
  if (sizeBytes > maxAnnotationBytes) throw overLimit('annotations', sizeBytes);
  return annotations;
}

/** Whether they are few and short enough to be looked at: no ciphertext of ours has others. */
export function areAnnotationsModest(annotations: WireAnnotations): boolean {
  if (annotations.size > maxAnnotations) return false; // control: limits.annotations
  // control: limits.annotation-value
  return [...annotations.values()].every((value) => value.length <= maxAnnotationValueBytes);
}

function decodeUtf8(bytes: Uint8Array): string {
  if (!isUtf8(bytes)) throw new ProviderError('annotation_invalid', 'annotations invalid', { facts: { check: 0 } });
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8');
}

export function annotationBytes(annotations: ReadonlyMap<string, string>): number {
  let sizeBytes = 0;
  for (const [name, value] of annotations)
    sizeBytes += Buffer.byteLength(name, 'utf8') + Buffer.byteLength(value, 'utf8');
  return sizeBytes;
}

/**
 * Checks what we are about to answer to an Encrypt.
 *
 * @throws ProviderError `response_limit`
 */
export function checkResponseSizes(ciphertext: string, keyId: string, annotations: ReadonlyMap<string, string>): void {
  const isInside = (text: string) => text !== '' && Buffer.byteLength(text, 'utf8') <= maxFieldBytes;
  // control: limits.answer-annotations
  if (isInside(ciphertext) && isInside(keyId) && annotationBytes(annotations) <= maxAnnotationBytes) return;
  throw new ProviderError('response_limit', 'kms response exceeds protocol limits');
}

function overLimit(field: string, sizeBytes: number): ProviderError {
  return new ProviderError('request_limit', 'kms request exceeds protocol limits', { facts: { field, sizeBytes } });
}
