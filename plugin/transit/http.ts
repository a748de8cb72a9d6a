// HTTP to OpenBao: a pool of HTTP/1.1 connections, one request at a time on each. No redirects, no proxy, no cookies, no
// compression. Every body is capped before it is kept; every call ends by its deadline.

import type { Socket } from 'node:net';
import { Client, type Dispatcher, Pool } from 'undici';
import { ProviderError } from '../../shared/errors/error.ts';
import type { Cancel, Clock } from '../../shared/time/clock.ts';
import { greatestErrorBytes, type Operation } from './operations.ts';
import { connectTls, type Endpoint, type Trust } from './tls.ts';
import { classifyTransportFailure } from './transport-failure.ts';

export type HttpOptions = {
  readonly address: string;
  readonly namespace: string;
  readonly userAgent: string;
  readonly trust: Trust;
  readonly clock: Clock;
  /** Connections at a time. */
  readonly connections: number;
};

export type HttpCall = {
  readonly operation: Operation;
  /** Path below /v1/, segments not yet encoded. */
  readonly path: string;
  readonly token?: string;
  readonly body?: unknown;
  readonly timeoutMs: number;
  /** Ends the call with the signal's reason, a ProviderError `canceled` or `timeout`. */
  readonly signal?: AbortSignal;
};

export type HttpReply = {
  readonly status: number;
  readonly contentType: string;
  readonly retryAfter: string;
  readonly date: string;
  readonly body: Buffer;
};

export type Http = {
  /**
   * Sends one request; a reused connection that died before one byte of the answer came is tried once more on another.
   *
   * @throws ProviderError `bao_connection_failed`, `bao_dns_failed`, `bao_tls_failed`, `bao_unavailable`, `timeout`, `canceled`
   */
  readonly send: (call: HttpCall) => Promise<HttpReply>;
  /**
   * Completes a TLS handshake with the configured name on a connection of its own, and closes it: whether this trust and the
   * certificate of OpenBao go together. Nothing is sent over it.
   *
   * @throws ProviderError `bao_tls_failed` with the fact `detail`, `bao_connection_failed`, `bao_dns_failed`, `timeout`, or
   *   the signal's reason
   */
  readonly handshake: (options: { readonly timeoutMs: number; readonly signal?: AbortSignal }) => Promise<void>;
  /** Lets running calls finish and closes. */
  readonly close: () => Promise<void>;
};

/** Below the 60 s after which common load balancers drop an idle connection. */
const idleTimeoutMs = 30_000;

export function createHttp(options: HttpOptions): Http {
  const base = new URL(options.address);
  const prefix = base.pathname.replace(/\/+$/u, '');
  const pool = new Pool(base.origin, {
    connections: options.connections,
    pipelining: 1,
    allowH2: false,
    keepAliveTimeout: idleTimeoutMs,
    keepAliveMaxTimeout: idleTimeoutMs,
    headersTimeout: 0,
    bodyTimeout: 0,
    factory: (origin, clientOptions: object) => new TrackedClient(origin, clientOptions, options.trust, options.clock),
  });
  const attempt = (call: HttpCall, signal: AbortSignal) => {
    const request = buildRequest(call, prefix, options);
    return new Promise<HttpReply>((resolve, reject) => {
      const handler = new ReplyHandler(call.operation, signal, resolve, reject);
      pool.dispatch(request, handler);
    });
  };
  return {
    send: (call) =>
      withDeadline(call, call.operation.label, options.clock, (signal) =>
        sendOnce(() => attempt(call, signal), signal),
      ),
    handshake: (limits) =>
      withDeadline(limits, 'handshake', options.clock, async (signal) => {
        const socket = await connectTls(options.trust, endpointOf(base), signal).catch((error: unknown) => {
          throw failureOf(error);
        });
        socket.on('error', () => {});
        socket.destroy();
      }),
    close: () => pool.close(),
  };
}

/** Authentication comes before execution and encrypt and decrypt may be repeated, so one more try harms nothing. */
async function sendOnce(attempt: () => Promise<HttpReply>, signal: AbortSignal): Promise<HttpReply> {
  try {
    return await attempt();
  } catch (error) {
    if (!(error instanceof StaleConnection) || signal.aborted) throw failureOf(error);
    return attempt().catch((second: unknown) => {
      throw failureOf(second);
    });
  }
}

function failureOf(error: unknown): ProviderError {
  return classifyTransportFailure(error instanceof StaleConnection ? error.cause : error);
}

type Limits = { readonly timeoutMs: number; readonly signal?: AbortSignal };

async function withDeadline<T>(
  limits: Limits,
  label: string,
  clock: Clock,
  run: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const leave = () => controller.abort(limits.signal?.reason);
  if (limits.signal?.aborted) throw limits.signal.reason;
  limits.signal?.addEventListener('abort', leave, { once: true });
  const cancel: Cancel = clock.after(limits.timeoutMs, () => {
    const facts = { operation: label, origin: 'client' };
    controller.abort(new ProviderError('timeout', 'OpenBao did not answer in time', { facts }));
  });
  try {
    return await run(controller.signal);
  } finally {
    cancel();
    limits.signal?.removeEventListener('abort', leave);
  }
}

function endpointOf({ hostname, port }: URL): Endpoint {
  return { host: hostname.replace(/^\[|\]$/gu, ''), port: Number(port || 443) };
}

function buildRequest(call: HttpCall, prefix: string, options: HttpOptions): Dispatcher.DispatchOptions {
  const path = call.path.split('/').map(encodeURIComponent).join('/');
  const headers: Record<string, string> = {
    'x-vault-request': 'true',
    accept: 'application/json',
    'user-agent': options.userAgent,
  };
  if (call.token !== undefined) headers['x-vault-token'] = call.token;
  if (options.namespace !== '') headers['x-vault-namespace'] = options.namespace;
  if (call.body !== undefined) headers['content-type'] = 'application/json';
  const body = call.body === undefined ? null : JSON.stringify(call.body);
  return { method: call.operation.method, path: `${prefix}/v1/${path}`, headers, body };
}

/** A reused connection ended before one byte of the answer. */
class StaleConnection extends Error {}

/** Collects one answer under its cap. */
class ReplyHandler implements Dispatcher.DispatchHandler {
  readonly #operation: Operation;
  readonly #signal: AbortSignal;
  readonly #resolve: (reply: HttpReply) => void;
  readonly #reject: (error: unknown) => void;
  readonly #chunks: Buffer[] = [];
  #sizeBytes = 0;
  #head: Omit<HttpReply, 'body'> | undefined;
  #leave: (() => void) | undefined;
  #reused: { readonly socket: Socket; readonly bytesRead: number } | undefined;

  constructor(
    operation: Operation,
    signal: AbortSignal,
    resolve: (reply: HttpReply) => void,
    reject: (error: unknown) => void,
  ) {
    this.#operation = operation;
    this.#signal = signal;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  /** Told by the client which connection carries the request, if that one served others before. */
  sentOn(socket: Socket): void {
    this.#reused = { socket, bytesRead: socket.bytesRead };
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    if (this.#signal.aborted) return controller.abort(this.#signal.reason);
    this.#leave?.();
    const abort = () => controller.abort(this.#signal.reason);
    this.#signal.addEventListener('abort', abort, { once: true });
    this.#leave = () => this.#signal.removeEventListener('abort', abort);
  }

  onResponseStart(_: Dispatcher.DispatchController, status: number, headers: Record<string, unknown>): void {
    const header = (name: string) => (typeof headers[name] === 'string' ? headers[name] : '');
    this.#head = {
      status,
      contentType: header('content-type'),
      retryAfter: header('retry-after'),
      date: header('date'),
    };
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    const isSuccess = this.#head !== undefined && this.#head.status >= 200 && this.#head.status < 300;
    const greatestBytes = isSuccess ? this.#operation.greatestBytes : greatestErrorBytes;
    this.#sizeBytes += chunk.length;
    if (this.#sizeBytes > greatestBytes) {
      const facts = { operation: this.#operation.label, greatestBytes };
      controller.abort(
        new ProviderError('bao_unavailable', 'an answer of OpenBao is larger than its limit', { facts }),
      );
    } else this.#chunks.push(chunk);
  }

  onResponseEnd(): void {
    this.#leave?.();
    if (this.#head === undefined) return this.#reject(new Error('no head'));
    this.#resolve({ ...this.#head, body: Buffer.concat(this.#chunks) });
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    this.#leave?.();
    const reused = this.#reused;
    const isStale =
      !this.#signal.aborted &&
      !(error instanceof ProviderError) &&
      this.#head === undefined &&
      reused !== undefined &&
      reused.socket.bytesRead === reused.bytesRead;
    this.#reject(isStale ? new StaleConnection('stale', { cause: error }) : error);
  }
}

const connectTimeoutMs = 10_000;

/** One connection; knows whether it has answered before. */
class TrackedClient extends Client {
  #socket: Socket | undefined;

  constructor(origin: URL, options: object, trust: Trust, clock: Clock) {
    const connect = (_: unknown, callback: (error: Error | null, socket: Socket | null) => void) => {
      const limits = { timeoutMs: connectTimeoutMs };
      withDeadline(limits, 'connect', clock, (signal) => connectTls(trust, endpointOf(origin), signal)).then(
        (socket) => {
          this.#socket = socket;
          callback(null, socket);
        },
        (error: Error) => callback(error, null),
      );
    };
    super(origin, { ...options, connect: connect as never });
  }

  override dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    const socket = this.#socket;
    const isReused = socket !== undefined && !socket.destroyed && socket.bytesRead > 0;
    if (isReused && handler instanceof ReplyHandler) handler.sentOn(socket);
    return super.dispatch(options, handler);
  }
}
