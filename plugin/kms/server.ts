// Serves the KMS v2 methods on an inherited, bound socket. The only file that meets grpc-js.

import type { Http2Server, ServerOptions } from 'node:http2';
import net from 'node:net';
import {
  Server,
  ServerCredentials,
  ServerInterceptingCall,
  type ServerInterceptor,
  type ServerUnaryCall,
  type ServiceDefinition,
  type sendUnaryData,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { ProviderError } from '../../shared/errors/error.ts';
import { grpcCodes } from '../../shared/errors/policy.ts';
import type { Clock } from '../../shared/time/clock.ts';
import type { BoundReached } from './bounds.ts';
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
import type { KmsFailure } from './failures.ts';
import type { Share } from './fair-share.ts';
import { Guard, type GuardedStream, http2Options } from './guard.ts';
import { type Kms, type KmsAnswer, type KmsCall, ownMarginMs } from './kms.ts';
import { maxMessageBytes } from './limits.ts';

export type KmsServer = {
  /** Listens on the descriptor. Rejects with the system's error. */
  readonly listen: (descriptor: number) => Promise<void>;
  /** Stops accepting, lets running calls finish; cuts what is left at the deadline. Resolves to the number cut. */
  readonly drain: (deadlineMs: number) => Promise<number>;
};

export type KmsServerOptions = {
  /** Our own deadline for one call, from its first byte; 0 means none. */
  readonly timeoutMs: number;
  readonly reached: BoundReached;
};

const path = (method: string) => `/v2.KeyManagementService/${method}`;

export function createKmsServer(kms: Kms, clock: Clock, { timeoutMs, reached }: KmsServerOptions): KmsServer {
  const desk: Desk = { kms, clock, running: new Set(), serving: undefined };
  const { running } = desk;
  const interceptor: ServerInterceptor = ({ path: asked }, call) =>
    interceptingCall(desk, guard.opening(), methodOf(asked), call);
  const server = new Server({
    'grpc.max_receive_message_length': maxMessageBytes,
    'grpc.max_send_message_length': maxMessageBytes,
    interceptors: [interceptor],
  });
  server.addService(service, implementation(desk));
  setHttp2Options(server, http2Options);
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  const callMs = timeoutMs === 0 ? 0 : timeoutMs + ownMarginMs;
  const guard = new Guard(http2ServerOf(server), { clock, callMs, reached });
  const sockets = new Set<net.Socket>();
  const listener = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.once('close', () => sockets.delete(socket));
    guard.accept(socket, (accepted) => injector.injectConnection(accepted));
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

/** What the library keeps to itself: it has no option for them, and takes no HTTP/2 server of ours. */
type Inner = {
  readonly commonServerOptions?: ServerOptions;
  readonly http2Servers?: ReadonlyMap<Http2Server, unknown>;
};

/** Fails the start rather than serve without bounds, should another version of the library keep them elsewhere. */
function setHttp2Options(server: Server, options: ServerOptions): void {
  const { commonServerOptions } = server as unknown as Inner;
  if (commonServerOptions === undefined) throw unknownLibrary();
  Object.assign(commonServerOptions, options);
}

function http2ServerOf(server: Server): Http2Server {
  const [http2Server] = (server as unknown as Inner).http2Servers?.keys() ?? [];
  if (http2Server === undefined) throw unknownLibrary();
  return http2Server;
}

function unknownLibrary(): ProviderError {
  return new ProviderError('internal', 'the gRPC library is not the version that this build was made for');
}

/** One call as it goes through the library: which stream it is, and the slot that its first byte took. */
type Serving = { readonly stream: GuardedStream; readonly slot: Share | undefined; isTaken: boolean };

type Desk = {
  readonly kms: Kms;
  readonly clock: Clock;
  readonly running: Set<AbortController>;
  /** The call whose handler the library is starting at this moment. */
  serving: Serving | undefined;
};

function methodOf(asked: string): 'status' | 'encrypt' | 'decrypt' {
  return asked === path('Status') ? 'status' : asked === path('Encrypt') ? 'encrypt' : 'decrypt';
}

type InnerCall = ConstructorParameters<typeof ServerInterceptingCall>[0];

/** Takes the slot of the method at the first byte, and tells the guard how far the call has come. */
function interceptingCall(
  desk: Desk,
  stream: GuardedStream | undefined,
  method: 'status' | 'encrypt' | 'decrypt',
  call: InnerCall,
): ServerInterceptingCall {
  if (stream === undefined) return new ServerInterceptingCall(call);
  // control: server.slot-first
  const entered = method === 'decrypt' ? undefined : desk.kms.enter(method, stream.connection, stream.expel);
  const serving: Serving = { stream, slot: entered && 'slot' in entered ? entered.slot : undefined, isTaken: false };
  const giveBack = () => {
    if (!serving.isTaken) serving.slot?.release();
  };
  stream.onClosed = giveBack;
  stream.onLate = () => {
    giveBack();
    call.sendStatus({ code: grpcCodes.deadline_exceeded, details: 'request timed out', metadata: null });
  };
  return new ServerInterceptingCall(call, {
    start: (next) =>
      next({
        onReceiveMetadata: (metadata, pass) => {
          if (entered === undefined || 'slot' in entered) return pass(metadata);
          refuse(stream, call, entered.failure);
        },
        onReceiveHalfClose: (pass) => {
          stream.complete();
          desk.serving = serving;
          pass();
          desk.serving = undefined;
          giveBack();
        },
      }),
    // What follows waits until the client has taken the message.
    sendMessage: (message, pass) => {
      stream.answered(); // control: server.answer-pending
      pass(message);
    },
    sendStatus: (status, pass) => {
      stream.answered();
      pass(status);
    },
  });
}

function refuse(stream: GuardedStream, call: InnerCall, failure: KmsFailure): void {
  stream.answered();
  call.sendStatus({ code: grpcCodes[failure.label], details: failure.message, metadata: null });
  stream.finish();
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

function implementation(desk: Desk): UntypedServiceImplementation {
  const { kms, clock, running } = desk;
  const unaryCall =
    <Request, Response>(serve: (request: Request, call: KmsCall) => Promise<KmsAnswer<Response>>) =>
    (call: ServerUnaryCall<Request, Response>, reply: sendUnaryData<Response>) => {
      const controller = new AbortController();
      running.add(controller);
      // The library emits this after every call; only before the answer it means that the caller is gone.
      call.once('cancelled', () => {
        if (running.has(controller)) controller.abort(new ProviderError('canceled', 'request canceled'));
      });
      const request: KmsCall = {
        signal: controller.signal,
        deadlineMs: deadlineOf(call, clock),
        connection: desk.serving?.stream.connection ?? desk,
        end: (reason) => controller.abort(reason),
        slot: desk.serving?.slot,
      };
      if (desk.serving !== undefined) desk.serving.isTaken = true;
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
