// A client as the API server is one: one connection, deadlines, transparent retry, no keepalive. The deadlines are those of a calm
// machine; what is refused at one is refused by the provider, never by a client that waits too short.

import { Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import {
  DecryptRequest,
  DecryptResponse,
  EncryptRequest,
  EncryptResponse,
  StatusRequest,
  StatusResponse,
} from '../../plugin/kms/generated/kms/v2/api.ts';
import { limitOf } from './patience.ts';

export type KmsClient = {
  readonly status: (calmMs?: number) => Promise<StatusResponse>;
  readonly encrypt: (plaintext: Buffer, uid?: string, calmMs?: number) => Promise<EncryptResponse>;
  readonly decrypt: (request: Omit<DecryptRequest, 'uid'>, uid?: string, calmMs?: number) => Promise<DecryptResponse>;
  /** Sends any bytes to a method. */
  readonly raw: (method: string, bytes: Buffer, calmMs?: number) => Promise<Buffer>;
  readonly close: () => void;
};

const path = (method: string) => `/v2.KeyManagementService/${method}`;
const usualMs = 3_000;

export function createKmsClient(socketPath: string): KmsClient {
  const client = new Client(`unix://${socketPath}`, credentials.createInsecure(), {
    'grpc.default_authority': 'localhost',
    'grpc.initial_reconnect_backoff_ms': 100,
    'grpc.max_reconnect_backoff_ms': 1_000,
  });
  const call = <Request, Response>(
    method: string,
    encode: (request: Request) => Buffer,
    decode: (bytes: Buffer) => Response,
    request: Request,
    calmMs: number,
  ) =>
    new Promise<Response>((resolve, reject) => {
      const options = { deadline: Date.now() + limitOf(calmMs) };
      const answer = (error: ServiceError | null, value?: Response) => {
        if (error !== null || value === undefined) reject(error ?? new Error('no answer'));
        else resolve(value);
      };
      const metadata = new Metadata({ waitForReady: true });
      client.makeUnaryRequest(path(method), encode, decode, request, metadata, options, answer);
    });
  const write =
    <T>(fns: { encode(message: T): { finish(): Uint8Array } }) =>
    (message: T) =>
      Buffer.from(fns.encode(message).finish());
  return {
    status: (calmMs = usualMs) => call('Status', write(StatusRequest), StatusResponse.decode, {}, calmMs),
    encrypt: (plaintext, uid = 'test', calmMs = usualMs) =>
      call('Encrypt', write(EncryptRequest), EncryptResponse.decode, { plaintext, uid }, calmMs),
    decrypt: (request, uid = 'test', calmMs = usualMs) =>
      call('Decrypt', write(DecryptRequest), DecryptResponse.decode, { ...request, uid }, calmMs),
    raw: (method, bytes, calmMs = usualMs) =>
      call(
        method,
        (message: Buffer) => message,
        (answer) => answer,
        bytes,
        calmMs,
      ),
    close: () => client.close(),
  };
}

/** Code and message of a refused call. */
export async function refusalOf(call: Promise<unknown>): Promise<{ readonly code: number; readonly message: string }> {
  try {
    await call;
  } catch (error) {
    const { code, details } = error as ServiceError;
    return { code, message: details };
  }
  throw new Error('the call was not refused');
}
