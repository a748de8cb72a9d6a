// Frames on the channel: 4 bytes length, big-endian, then that many bytes. Length and kind are checked before the body is kept;
// nothing partial ever leaves the decoder, and however the bytes come, they lie in one buffer.

import { ProviderError } from '../errors/error.ts';

/** Largest payload of one frame, bytes: a 4 MiB state as a JSON string or a 1 MiB credential in base64 fits. */
export const maxFrameBytes = 8 * 1024 * 1024;
const headerBytes = 4;
/** The begin of a payload, which says its kind: `{"kind":"credential_result"` fits. */
const headBytes = 32;
const minBufferBytes = 4 * 1024;

/**
 * @throws ProviderError `frame_malformed` when the payload is empty or larger than 8 MiB
 */
export function encodeFrame(payload: Buffer): Buffer {
  checkLength(payload.length, maxFrameBytes);
  const frame = Buffer.allocUnsafe(headerBytes + payload.length);
  frame.writeUInt32BE(payload.length, 0);
  payload.copy(frame, headerBytes);
  return frame;
}

/** How long a payload may be that begins like this, bytes; at most 32 bytes are shown. */
export type LengthRule = (head: string) => number;

const anyKind: LengthRule = () => maxFrameBytes;

/** Collects bytes and hands out whole payloads, in order. */
export class FrameDecoder {
  readonly #lengthRule: LengthRule;
  #buffer = Buffer.alloc(0);
  #sizeBytes = 0;

  constructor(lengthRule: LengthRule = anyKind) {
    this.#lengthRule = lengthRule;
  }

  /**
   * @returns the payloads that became complete; they are copies, and stay
   * @throws ProviderError `frame_malformed` when a header announces 0 bytes, more than 8 MiB, or more than a payload of its kind may
   * have; the decoder is useless then
   */
  push(chunk: Buffer): Buffer[] {
    const payloads: Buffer[] = [];
    // No more is kept than the frame that has begun and what came with its end.
    for (let at = 0; at < chunk.length; ) {
      const wanted = this.#missingBytes();
      const part = chunk.subarray(at, at + wanted);
      this.#append(part);
      at += part.length;
      const payload = this.#take();
      if (payload !== undefined) payloads.push(payload);
    }
    return payloads;
  }

  /** Bytes of a frame that has begun and not ended. */
  get pendingBytes(): number {
    return this.#sizeBytes;
  }

  /** Up to the next decision: about the length, about the kind, or that the frame is complete. */
  #missingBytes(): number {
    if (this.#sizeBytes < headerBytes) return headerBytes - this.#sizeBytes;
    const length = this.#buffer.readUInt32BE(0);
    const toHead = headerBytes + Math.min(length, headBytes) - this.#sizeBytes;
    return toHead > 0 ? toHead : headerBytes + length - this.#sizeBytes;
  }

  #append(part: Buffer): void {
    const wanted = this.#sizeBytes + part.length;
    if (wanted > this.#buffer.length) {
      const grown = Buffer.allocUnsafe(Math.max(wanted, this.#buffer.length * 2, minBufferBytes));
      this.#buffer.copy(grown, 0, 0, this.#sizeBytes);
      this.#buffer = grown;
    }
    part.copy(this.#buffer, this.#sizeBytes);
    this.#sizeBytes = wanted;
  }

  #take(): Buffer | undefined {
    if (this.#sizeBytes < headerBytes) return undefined;
    const length = this.#buffer.readUInt32BE(0);
    checkLength(length, maxFrameBytes); // control: frame.bounded-at-header
    const shown = Math.min(length, headBytes);
    if (this.#sizeBytes < headerBytes + shown) return undefined;
    checkLength(length, this.#lengthRule(this.#buffer.toString('latin1', headerBytes, headerBytes + shown)));
    if (this.#sizeBytes < headerBytes + length) return undefined;
    const payload = Buffer.from(this.#buffer.subarray(headerBytes, headerBytes + length));
    // A large buffer is not kept for small frames.
    this.#buffer = Buffer.alloc(0);
    this.#sizeBytes = 0;
    return payload;
  }
}

function checkLength(length: number, maxBytes: number): void {
  if (length >= 1 && length <= maxBytes) return; // control: frame.length
  throw new ProviderError('frame_malformed', 'a frame is empty or larger than its kind may be', {
    facts: { sizeBytes: length },
  });
}
