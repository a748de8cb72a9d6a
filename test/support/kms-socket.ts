// The KMS socket in this process: the real server over keys that do as they are told, and clients that keep to no rule.

import { mkdtempSync, rmSync } from 'node:fs';
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect as connectHttp2,
  constants,
  type Settings,
} from 'node:http2';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BoundName } from '../../plugin/kms/bounds.ts';
import { createKms, type KeyService, type Kms } from '../../plugin/kms/kms.ts';
import { createKmsServer } from '../../plugin/kms/server.ts';
import { clock as systemClock } from '../../plugin/system.ts';
import type { Clock } from '../../shared/time/clock.ts';
import { bindUnixSocket } from '../../supervisor/custody/bound-handle.ts';
import { createKmsClient, type KmsClient } from './kms-client.ts';

export type KmsSocket = {
  readonly path: string;
  readonly kms: Kms;
  readonly client: KmsClient;
  /** How often each bound was reached. */
  readonly reached: ReadonlyMap<BoundName, number>;
  /** Moves the monotonic clock that is read; timers keep their own time. */
  readonly skipMs: (ms: number) => void;
};

export type KmsSocketOptions = {
  readonly keys?: Partial<KeyService>;
  readonly timeoutMs?: number;
  /** Timers run out so many times as fast. */
  readonly haste?: number;
};

const goodKeys: KeyService = {
  status: () => ({ healthz: 'ok', keyId: 'key', transitKeyVersion: 1 }),
  encrypt: async () => ({ ciphertext: 'vault:v1:c2VhbGVk', keyId: 'key', annotations: new Map([['a.b', 'c']]) }),
  trim: (annotations) => ({ annotations, areSound: true }),
  resolve: async ({ ciphertext }) => ({
    transitKeyVersion: 1,
    item: { ciphertext: Buffer.from(ciphertext).toString('latin1'), aad: Buffer.from('aad') },
    writtenBy: '1.0.0',
  }),
  decrypt: async () => Buffer.from('plaintext'),
  decryptTogether: async () => undefined,
};

export async function withKmsSocket(
  run: (socket: KmsSocket) => Promise<void>,
  { keys = {}, timeoutMs = 2_000, haste = 1 }: KmsSocketOptions = {},
): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'kms-socket-'));
  const path = join(directory, 'kms.sock');
  const reached = new Map<BoundName, number>();
  const count = (bound: BoundName) => void reached.set(bound, (reached.get(bound) ?? 0) + 1);
  let skippedMs = 0;
  const clock: Clock = {
    ...systemClock,
    nowMs: () => systemClock.nowMs() + skippedMs,
    after: (ms, run) => systemClock.after(ms / haste, run),
  };
  const kms = createKms({
    clock,
    keys: { ...goodKeys, ...keys },
    settings: {
      maxConcurrentStatus: 16,
      maxConcurrentEncrypt: 32,
      maxConcurrentDecrypt: 64,
      isBatching: false,
      timeoutMs,
    },
    record: () => {},
    countKeyIdError: () => {},
    countAadError: () => {},
    reached: count,
  });
  const server = createKmsServer(kms, clock, { timeoutMs, reached: count });
  const handle = bindUnixSocket(path);
  await server.listen(handle.fd);
  const client = createKmsClient(path);
  try {
    await run({
      path,
      kms,
      client,
      reached,
      skipMs: (ms) => {
        skippedMs += ms;
      },
    });
  } finally {
    client.close();
    await server.drain(0);
    handle.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** A connection that says nothing. */
export function connectSilently(path: string): Promise<Socket> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.on('error', () => {});
    socket.resume();
    socket.once('connect', () => resolve(socket));
  });
}

export type Stranger = {
  readonly session: ClientHttp2Session;
  /** Begins a call and sends the first bytes of its body only. */
  readonly begin: (method: string, body?: Buffer) => ClientHttp2Stream;
  /** A whole call. @returns its gRPC status, -1 for none */
  readonly call: (method: string, message: Buffer) => Promise<number>;
  readonly close: () => void;
};

/** A member of the socket's group that speaks HTTP/2 as it likes. */
export function connectStranger(path: string, settings: Settings = {}): Stranger {
  const session = connectHttp2('http://localhost', { createConnection: () => connect(path), settings });
  session.on('error', () => {});
  const begin = (method: string, body?: Buffer) => {
    const stream = session.request(
      {
        ':method': 'POST',
        ':path': `/v2.KeyManagementService/${method}`,
        'content-type': 'application/grpc',
        te: 'trailers',
      },
      { endStream: false },
    );
    stream.on('error', () => {});
    if (body !== undefined) stream.write(body);
    return stream;
  };
  return {
    session,
    begin,
    call: (method, message) => {
      const stream = begin(method);
      stream.end(framed(message));
      return statusOf(stream);
    },
    close: () => session.destroy(),
  };
}

const frameTypes = { data: 0, headers: 1, reset: 3, settings: 4 } as const;

function frame(
  type: keyof typeof frameTypes,
  flags: number,
  stream: number,
  payload: Buffer = Buffer.alloc(0),
): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(frameTypes[type], 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

const literal = (text: string) => Buffer.concat([Buffer.from([text.length]), Buffer.from(text)]);

/** POST, http, the path, the authority and the content type, by the static table of HPACK. */
const headersOf = (method: string) =>
  Buffer.concat([
    Buffer.from([0x83, 0x86, 0x04]),
    literal(`/v2.KeyManagementService/${method}`),
    Buffer.from([0x01]),
    literal('localhost'),
    Buffer.from([0x0f, 0x10]),
    literal('application/grpc'),
  ]);

/** So many calls are begun and then given up, as a client in Go does it; some of these fit in one read. */
const batch = 1_000;
/** As short as a request can be; it is for no method. */
const terseHeaders = Buffer.from([0x83, 0x86, 0x84, 0x01, 0x01, 0x78]);

/**
 * One Encrypt that is begun, so many Decrypts that are begun and given up, then the body of the first.
 *
 * @returns what came back for the first call, as `outcomeOf` has it
 */
export function burstOfResets(path: string, count: number, headers = headersOf('Decrypt')): Promise<string> {
  const cancel = Buffer.of(0, 0, 0, 8);
  const frames: Buffer[] = [];
  for (let first = 0; first < count; first += batch) {
    const streams = Array.from({ length: batch }, (_, index) => 3 + 2 * (first + index));
    frames.push(...streams.map((stream) => frame('headers', 4, stream, headers)));
    frames.push(...streams.map((stream) => frame('reset', 0, stream, cancel)));
  }
  frames.push(frame('data', 1, 1, framed(Buffer.from([0x0a, 1, 1]))));
  return outcomeOf(path, frames);
}

/** The same with requests so short that Node has not yet forgotten the ones that were given up when it reads the next. */
export const burstOfTerseResets = (path: string, count: number) => burstOfResets(path, count, terseHeaders);

/** One Encrypt that is begun, and then what ends a connection: data of no stream. */
export function breakProtocol(path: string): Promise<string> {
  return outcomeOf(path, [frame('data', 0, 0, Buffer.of(0))]);
}

/** Begins an Encrypt and sends the frames. @returns `answered`, `reset` with its code, or `closed` */
function outcomeOf(path: string, frames: readonly Buffer[]): Promise<string> {
  const greeting = [
    Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
    frame('settings', 0, 0),
    frame('headers', 4, 1, headersOf('Encrypt')),
  ];
  return new Promise((resolve) => {
    const socket = connect(path);
    let received: Buffer = Buffer.alloc(0);
    const settle = (outcome: string) => {
      resolve(outcome);
      socket.destroy();
    };
    socket.on('error', () => {});
    socket.once('close', () => settle('closed'));
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk]);
      while (received.length >= 9 && received.length >= 9 + received.readUIntBE(0, 3)) {
        const [type, stream] = [received.readUInt8(3), received.readUInt32BE(5)];
        if (stream === 1 && type === frameTypes.data) return settle('answered');
        if (stream === 1 && type === frameTypes.reset) return settle(`reset ${received.readUInt32BE(9)}`);
        received = received.subarray(9 + received.readUIntBE(0, 3));
      }
    });
    socket.write(Buffer.concat([...greeting, ...frames]));
  });
}

/** A gRPC message with its prefix. */
export function framed(message: Buffer): Buffer {
  const bytes = Buffer.alloc(5 + message.length);
  bytes.writeUInt32BE(message.length, 1);
  message.copy(bytes, 5);
  return bytes;
}

/** The gRPC status that ends a stream, -1 when it ends without one. */
export function statusOf(stream: ClientHttp2Stream): Promise<number> {
  return new Promise((resolve) => {
    let status = -1;
    const read = (headers: Record<string, unknown>) => {
      if (headers['grpc-status'] !== undefined) status = Number(headers['grpc-status']);
    };
    stream.on('response', read);
    stream.on('trailers', read);
    stream.once('close', () => resolve(status));
    stream.resume();
  });
}

export const refusedStream = constants.NGHTTP2_REFUSED_STREAM;
