// Bytes ↔ the six KMS v2 messages. The codec is generated from proto/; this door adds what it cannot know: the size cap and
// that an annotation must not come twice.

import { BinaryReader } from '@bufbuild/protobuf/wire';
import { ProviderError } from '../../shared/errors/error.ts';
import {
  DecryptRequest,
  DecryptResponse,
  EncryptRequest,
  EncryptResponse,
  StatusRequest,
  StatusResponse,
} from './generated/kms/v2/api.ts';
import { maxMessageBytes } from './limits.ts';

export { DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse, StatusRequest, StatusResponse };

/** Field number of DecryptRequest.annotations. */
const annotationsField = 4;

export const decodeStatusRequest = (bytes: Buffer): StatusRequest => decode(bytes, StatusRequest.decode);
export const decodeEncryptRequest = (bytes: Buffer): EncryptRequest => decode(bytes, EncryptRequest.decode);

/**
 * A request whose annotations hold one name twice keeps `hasDuplicates`: the step that refuses it comes later (spec/kms 4.1).
 * `sizeBytes`: the message as it was sent, which the library may keep until the call has ended.
 */
export type DecodedDecrypt = DecryptRequest & { readonly hasDuplicates: boolean; readonly sizeBytes: number };

/** @throws ProviderError `request_limit` for bytes that are no such message */
export function decodeDecryptRequest(bytes: Buffer): DecodedDecrypt {
  const request = decode(bytes, DecryptRequest.decode);
  // The ciphertext is a copy of its own: a part of the message would keep the whole of it.
  const ciphertext = Buffer.from(request.ciphertext);
  const hasDuplicates = decode(bytes, countAnnotations) !== request.annotations.size; // control: codec.annotation-twice
  return { ...request, ciphertext, hasDuplicates, sizeBytes: bytes.length };
}

function countAnnotations(bytes: Buffer): number {
  const reader = new BinaryReader(bytes);
  let count = 0;
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === annotationsField) count += 1;
    reader.skip(wireType);
  }
  return count;
}

function decode<T>(bytes: Buffer, read: (bytes: Buffer) => T): T {
  if (bytes.length > maxMessageBytes) throw malformed();
  try {
    return read(bytes);
  } catch {
    throw malformed();
  }
}

function malformed(): ProviderError {
  return new ProviderError('request_limit', 'kms request exceeds protocol limits');
}

export const encodeStatusResponse = (message: StatusResponse): Buffer => encode(StatusResponse.encode(message));
export const encodeEncryptResponse = (message: EncryptResponse): Buffer => encode(EncryptResponse.encode(message));

/** Overwrites the plaintext once it has been written: it was a copy of our own. */
export function encodeDecryptResponse(message: DecryptResponse): Buffer {
  const bytes = encode(DecryptResponse.encode(message));
  message.plaintext.fill(0);
  return bytes;
}

function encode(writer: { finish(): Uint8Array }): Buffer {
  return Buffer.from(writer.finish());
}
