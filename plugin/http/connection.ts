// One connection to OpenBao, one request at a time on it. Every body is capped before it is kept. No redirects, no proxy, no
// cookies, no compression, no second life: what has ended is never opened again.

import type { TLSSocket } from 'node:tls';
import { Client, type Dispatcher } from 'undici';
import { ProviderError } from '../../shared/errors/error.ts';
import { maxErrorBytes, type Operation } from './operation.ts';

export type HttpReply = {
  readonly status: number;
  readonly contentType: string;
  readonly retryAfter: string;
  readonly date: string;
  readonly body: Buffer;
  /** The node says that it lags behind the others. */
  readonly isInconsistent?: true;
  /** The request was sent twice; this is the second answer. */
  readonly wasRepeated?: true;
};

/** The connection ended before the answer was complete; its cause is what the socket said. */
export class BrokenExchange extends Error {
  readonly hasAnswerBegun: boolean;
  constructor(cause: unknown, hasAnswerBegun: boolean) {
    super('the exchange broke off', { cause });
    this.hasAnswerBegun = hasAnswerBegun;
  }
}

export type WireRequest = {
  readonly operation: Operation;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | null;
};

export type Connection = {
  /** The address at the other end. */
  readonly peer: string;
  readonly isOpen: () => boolean;
  /** Whether it has carried an answer. */
  readonly hasAnswered: () => boolean;
  /**
   * Sends one request and waits for the whole answer.
   *
   * @throws ProviderError `bao_unavailable` for an answer over its limit, the signal's reason, or BrokenExchange
   */
  readonly exchange: (request: WireRequest, signal: AbortSignal) => Promise<HttpReply>;
  readonly close: () => void;
  /** Runs once when the connection has ended, by whoever. */
  readonly onClosed: (run: () => void) => void;
};

/** Below the 60 s after which common load balancers drop an idle connection. */
const idleTimeoutMs = 30_000;

export function createConnection(origin: string, socket: TLSSocket, peer: string): Connection {
  let isTaken = false;
  let hasAnswered = false;
  // The client connects before its first request, and would again after the end.
  const connect = (_: unknown, callback: (error: Error | null, socket: TLSSocket | null) => void) => {
    const isGone = isTaken || socket.destroyed;
    isTaken = true;
    // The client is in the midst of asking: it hears nothing that is said at once.
    queueMicrotask(() => (isGone ? callback(ended(), null) : callback(null, socket)));
  };
  const client = new Client(origin, {
    pipelining: 1,
    allowH2: false,
    keepAliveTimeout: idleTimeoutMs,
    keepAliveMaxTimeout: idleTimeoutMs,
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: connect as never,
  });
  return {
    peer,
    isOpen: () => !socket.destroyed,
    hasAnswered: () => hasAnswered,
    exchange: async ({ operation, ...request }, signal) => {
      signal.throwIfAborted();
      let leave = () => {};
      try {
        const reply = await new Promise<HttpReply>((resolve, reject) => {
          leave = () => {
            reject(signal.reason);
            socket.destroy();
          };
          signal.addEventListener('abort', leave, { once: true });
          client.dispatch({ method: operation.method, ...request }, new ReplyHandler(operation, resolve, reject));
        });
        hasAnswered = true;
        return reply;
      } finally {
        signal.removeEventListener('abort', leave);
      }
    },
    close: () => socket.destroy(),
    onClosed: (run) => void socket.once('close', run),
  };
}

function ended(): Error {
  return Object.assign(new Error('the connection has ended'), { code: 'ECONNRESET' });
}

/** Collects one answer under its cap. */
class ReplyHandler implements Dispatcher.DispatchHandler {
  readonly #operation: Operation;
  readonly #resolve: (reply: HttpReply) => void;
  readonly #reject: (error: unknown) => void;
  /** One buffer that grows: a list would keep an object for each part, and a part can be one byte. */
  #body = Buffer.alloc(0); // control: answer.body
  #sizeBytes = 0;
  #head: Omit<HttpReply, 'body'> | undefined;

  constructor(operation: Operation, resolve: (reply: HttpReply) => void, reject: (error: unknown) => void) {
    this.#operation = operation;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  /** Asked for by the client; there is nothing to do. */
  onRequestStart(): void {}

  onResponseStart(_: Dispatcher.DispatchController, status: number, headers: Record<string, unknown>): void {
    const header = (name: string) => (typeof headers[name] === 'string' ? headers[name] : '');
    this.#head = {
      status,
      contentType: header('content-type'),
      retryAfter: header('retry-after'),
      date: header('date'),
      ...(headers['x-vault-inconsistent'] === undefined ? {} : { isInconsistent: true }),
    };
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    const isSuccess = this.#head !== undefined && this.#head.status >= 200 && this.#head.status < 300;
    const maxBytes = isSuccess || this.#operation.isInParts === true ? this.#operation.maxBytes : maxErrorBytes;
    const sizeBytes = this.#sizeBytes + chunk.length;
    // control: answer.max-size
    if (sizeBytes > maxBytes) {
      const facts = { operation: this.#operation.label, maxBytes };
      controller.abort(
        new ProviderError('bao_unavailable', 'an answer of OpenBao is larger than its limit', { facts }),
      );
    } else {
      if (sizeBytes > this.#body.length) this.#grow(sizeBytes, maxBytes); // control: answer.grow
      chunk.copy(this.#body, this.#sizeBytes); // control: answer.copy
      this.#sizeBytes = sizeBytes;
    }
  }

  /** At least doubled, so that each byte is copied twice at most on the average. */
  #grow(leastBytes: number, mostBytes: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.min(mostBytes, Math.max(leastBytes, 2 * this.#body.length)));
    this.#body.copy(larger, 0, 0, this.#sizeBytes);
    this.#body = larger;
  }

  onResponseEnd(): void {
    if (this.#head === undefined) return this.#reject(new Error('no head'));
    this.#resolve({ ...this.#head, body: this.#body.subarray(0, this.#sizeBytes) }); // control: answer.whole
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    this.#reject(error instanceof ProviderError ? error : new BrokenExchange(error, this.#head !== undefined));
  }
}
