// Frames on the channel: 4 bytes length, big-endian, then that many bytes. The length is checked before memory is taken;
// nothing partial ever leaves the decoder.

import { ProviderError } from '../errors/error.ts';

/** Largest payload of one frame, bytes: a 4 MiB state or a 1 MiB credential in base64 fits. */
export const greatestFrameBytes = 8 * 1024 * 1024;
const headerBytes = 4;

/**
 * @throws ProviderError `frame_malformed` when the payload is empty or larger than 8 MiB
 */
export function encodeFrame(payload: Buffer): Buffer {
  checkLength(payload.length);
  const frame = Buffer.allocUnsafe(headerBytes + payload.length);
  frame.writeUInt32BE(payload.length, 0);
  payload.copy(frame, headerBytes);
  return frame;
}

/** Collects bytes and hands out whole payloads, in order. */
export class FrameDecoder {
  #chunks: Buffer[] = [];
  #sizeBytes = 0;

  /**
   * @returns the payloads that became complete
   * @throws ProviderError `frame_malformed` when a header announces 0 or more than 8 MiB; the decoder is useless then
   */
  push(chunk: Buffer): Buffer[] {
    this.#chunks.push(chunk);
    this.#sizeBytes += chunk.length;
    const payloads: Buffer[] = [];
    for (let payload = this.#take(); payload !== undefined; payload = this.#take()) payloads.push(payload);
    return payloads;
  }

  /** Bytes of a frame that has begun and not ended. */
  get pendingBytes(): number {
    return this.#sizeBytes;
  }

  #take(): Buffer | undefined {
    if (this.#sizeBytes < headerBytes) return undefined;
    if ((this.#chunks[0]?.length ?? 0) < headerBytes) this.#join();
    const length = this.#chunks[0]?.readUInt32BE(0) ?? 0;
    checkLength(length);
    if (this.#sizeBytes < headerBytes + length) return undefined;
    const all = this.#join();
    const payload = all.subarray(headerBytes, headerBytes + length);
    this.#keep(all.subarray(headerBytes + length));
    return payload;
  }

  #join(): Buffer {
    const all =
      this.#chunks.length === 1 && this.#chunks[0] !== undefined ? this.#chunks[0] : Buffer.concat(this.#chunks);
    this.#chunks = [all];
    return all;
  }

  #keep(rest: Buffer): void {
    this.#chunks = rest.length === 0 ? [] : [rest];
    this.#sizeBytes = rest.length;
  }
}

function checkLength(length: number): void {
  if (length >= 1 && length <= greatestFrameBytes) return;
  throw new ProviderError('frame_malformed', 'a frame is empty or larger than 8 MiB', { facts: { sizeBytes: length } });
}
