// Serves the KMS v2 methods on an inherited, bound socket. The only file that meets grpc-js.

import net from 'node:net';
import {
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServiceDefinition,
  type sendUnaryData,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { ProviderError } from '../../shared/errors/error.ts';
import type { Clock } from '../../shared/time/clock.ts';
import {
  type DecodedDecrypt,
  decodeDecryptRequest,
  decodeEncryptRequest,
  decodeStatusRequest,
  type EncryptRequest,
  encodeDecryptResponse,
  encodeEncryptResponse,
  encodeStatusResponse,
} from './codec.ts';
import type { Kms, KmsAnswer, KmsCall } from './kms.ts';
import { greatestMessageBytes } from './limits.ts';
import { grpcCodes } from './status.ts';

export type KmsServer = {
  /** Listens on the descriptor. Rejects with the system's error. */
  readonly listen: (descriptor: number) => Promise<void>;
  /** Stops accepting, lets running calls finish; cuts what is left at the deadline. Resolves to the number cut. */
  readonly drain: (deadlineMs: number) => Promise<number>;
};

const path = (method: string) => `/v2.KeyManagementService/${method}`;

export function createKmsServer(kms: Kms, clock: Clock): KmsServer {
  const server = new Server({
    'grpc.max_receive_message_length': greatestMessageBytes,
    'grpc.max_send_message_length': greatestMessageBytes,
    'grpc-node.max_session_memory': 64,
  });
  const running = new Set<AbortController>();
  server.addService(service, implementation(kms, clock, running));
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  const sockets = new Set<net.Socket>();
  const listener = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.once('close', () => sockets.delete(socket));
    injector.injectConnection(socket);
  });
  return {
    listen: (descriptor) =>
      new Promise((resolve, reject) => {
        listener.once('error', reject);
        listener.listen({ fd: descriptor }, resolve);
      }),
    drain: (deadlineMs) => drain({ server, listener, sockets, running, clock }, deadlineMs),
  };
}

type Draining = {
  readonly server: Server;
  readonly listener: net.Server;
  readonly sockets: ReadonlySet<net.Socket>;
  readonly running: ReadonlySet<AbortController>;
  readonly clock: Clock;
};

/** With injected connections tryShutdown calls back at once, so the sockets themselves are what we wait for. */
async function drain({ server, listener, sockets, running, clock }: Draining, deadlineMs: number): Promise<number> {
  listener.close();
  server.tryShutdown(() => {});
  const isEmpty = () => sockets.size === 0;
  const isDrained = await waitUntil(isEmpty, clock, deadlineMs);
  if (isDrained) return 0;
  const cut = running.size;
  for (const controller of running) controller.abort(new ProviderError('canceled', 'the provider is stopping'));
  server.forceShutdown();
  for (const socket of sockets) socket.destroy();
  return cut;
}

function waitUntil(holds: () => boolean, clock: Clock, deadlineMs: number): Promise<boolean> {
  const endsAtMs = clock.nowMs() + deadlineMs;
  return new Promise((resolve) => {
    const look = () => {
      if (holds()) return resolve(true);
      if (clock.nowMs() >= endsAtMs) return resolve(false);
      clock.after(10, look);
    };
    look();
  });
}

const unary = { requestStream: false, responseStream: false } as const;
const unused = () => {
  throw new Error('this side only serves');
};

const service: ServiceDefinition<UntypedServiceImplementation> = {
  Status: {
    path: path('Status'),
    ...unary,
    requestSerialize: unused,
    requestDeserialize: decodeStatusRequest,
    responseSerialize: encodeStatusResponse,
    responseDeserialize: unused,
  },
  Encrypt: {
    path: path('Encrypt'),
    ...unary,
    requestSerialize: unused,
    requestDeserialize: decodeEncryptRequest,
    responseSerialize: encodeEncryptResponse,
    responseDeserialize: unused,
  },
  Decrypt: {
    path: path('Decrypt'),
    ...unary,
    requestSerialize: unused,
    requestDeserialize: decodeDecryptRequest,
    responseSerialize: encodeDecryptResponse,
    responseDeserialize: unused,
  },
};

function implementation(kms: Kms, clock: Clock, running: Set<AbortController>): UntypedServiceImplementation {
  const unaryCall =
    <Request, Response>(serve: (request: Request, call: KmsCall) => Promise<KmsAnswer<Response>>) =>
    (call: ServerUnaryCall<Request, Response>, reply: sendUnaryData<Response>) => {
      const controller = new AbortController();
      running.add(controller);
      // The library emits this after every call; only before the answer it means that the caller is gone.
      call.once('cancelled', () => {
        if (running.has(controller)) controller.abort(new ProviderError('canceled', 'request canceled'));
      });
      const request = { signal: controller.signal, deadlineMs: deadlineOf(call, clock) };
      void serve(call.request, request).then((answer) => {
        running.delete(controller);
        if ('message' in answer) return reply(null, answer.message);
        reply({ code: grpcCodes[answer.failure.label], details: answer.failure.message });
      });
    };
  return {
    Status: unaryCall((_: unknown, call) => kms.status(call)),
    Encrypt: unaryCall((request: EncryptRequest, call) => kms.encrypt(request, call)),
    Decrypt: unaryCall((request: DecodedDecrypt, call) => kms.decrypt(request, call)),
  };
}

/** The caller's deadline on our monotonic clock. */
function deadlineOf(call: { getDeadline(): Date | number }, clock: Clock): number {
  const deadline = call.getDeadline();
  const atUnixMs = typeof deadline === 'number' ? deadline : deadline.getTime();
  return Number.isFinite(atUnixMs) ? clock.nowMs() + (atUnixMs - clock.wallMs()) : Number.POSITIVE_INFINITY;
}
