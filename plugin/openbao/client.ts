// HTTP to OpenBao: HTTP/1.1 connections of a pool, one request at a time on each. A node that cannot serve loses its connections,
// and what may be repeated is sent once more on a fresh one. Every call ends by its deadline, whatever it waits for.

import { ProviderError } from '../../shared/errors/error.ts';
import type { Clock } from '../../shared/time/clock.ts';
import { type Limits, withDeadline } from '../../shared/time/deadline.ts';
import { createAddresses, type Resolve } from '../http/addresses.ts';
import { type Connection, createConnection, type HttpReply, type WireRequest } from '../http/connection.ts';
import { createDial } from '../http/dial.ts';
import type { Operation } from '../http/operation.ts';
import { Pool } from '../http/pool.ts';
import type { Trust } from '../http/tls.ts';
import { createTurnover } from '../http/turnover.ts';
import { exchange } from './exchange.ts';
import { createTroubles } from './trouble.ts';

export type { HttpReply } from '../http/connection.ts';

export type HttpOptions = {
  readonly address: string;
  readonly namespace: string;
  readonly userAgent: string;
  readonly trust: Trust;
  readonly clock: Clock;
  /** 0 up to but not including 1. */
  readonly random: () => number;
  /** Connections at a time. */
  readonly connections: number;
  /** The system's resolver unless told otherwise. */
  readonly resolve?: Resolve;
};

export type HttpCall = Limits & {
  readonly operation: Operation;
  /** Path below /v1/, segments not yet encoded. */
  readonly path: string;
  readonly token?: string;
  readonly body?: unknown;
  /** Not sent once more, whatever happens: the caller has used up what may be sent. */
  readonly isLast?: boolean;
};

export type Http = {
  /**
   * Sends one request, and once more on a fresh connection when the node says that it cannot serve or the connection fails
   * before a complete answer (a login only when it cannot have been carried out).
   *
   * @returns the last answer, whatever it says
   * @throws ProviderError `bao_connection_failed`, `bao_dns_failed`, `bao_tls_failed`, `bao_unavailable`, `timeout`, `canceled`:
   *   the first cause when the second try learned nothing
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

const connectTimeoutMs = 10_000;
/** Between two tries: an election takes a second or two, ± 25 % so that nodes do not come back together. */
const longestPauseMs = 500;

export function createHttp(options: HttpOptions): Http {
  const { clock, trust, connections } = options;
  const base = new URL(options.address);
  const addresses = createAddresses(base.hostname.replace(/^\[|\]$/gu, ''), clock, options.resolve);
  const dial = createDial({ trust, port: Number(base.port || 443), addresses, clock });
  const open = async (signal: AbortSignal) => {
    // control: client.connect-timeout
    const dialed = await withDeadline({ timeoutMs: connectTimeoutMs, signal }, noConnection, clock, dial);
    return createConnection(base.origin, dialed.socket, dialed.address);
  };
  const pool = new Pool<Connection>({ open, clock, random: options.random, connections });
  const deps = {
    pool,
    addresses,
    clock,
    turnover: createTurnover(connections, clock.nowMs),
    troubles: createTroubles(clock.nowMs),
  };
  const heads = new RequestHeads(base.pathname.replace(/\/+$/u, ''), options);
  const running = new Set<Promise<HttpReply>>();
  let isClosed = false;
  return {
    send: async (call) => {
      if (isClosed) throw new ProviderError('bao_unavailable', 'the connections to OpenBao are closed');
      const request = heads.request(call);
      const sent = withDeadline(
        call,
        () => noAnswer(call.operation.label),
        clock,
        (signal) => {
          const pauseMs = Math.min(longestPauseMs, call.timeoutMs / 4) * (0.75 + options.random() / 2);
          return exchange(deps, request, { isLast: call.isLast === true, signal, caller: call.signal, pauseMs });
        },
      );
      running.add(sent);
      return sent.finally(() => running.delete(sent));
    },
    handshake: (limits) =>
      withDeadline(
        limits,
        () => noAnswer('handshake'),
        clock,
        async (signal) => {
          const { socket } = await dial(signal);
          socket.destroy();
        },
      ),
    close: async () => {
      isClosed = true;
      await Promise.allSettled(running);
      pool.close();
    },
  };
}

function noConnection(): ProviderError {
  return new ProviderError('bao_connection_failed', 'no connection to OpenBao was made within 10 s');
}

function noAnswer(operation: string): ProviderError {
  return new ProviderError('timeout', 'OpenBao did not answer in time', { facts: { operation, origin: 'client' } });
}

/** Paths and headers that requests have in common, each made once: there are a dozen paths, and one token at a time. */
class RequestHeads {
  readonly #prefix: string;
  readonly #options: HttpOptions;
  readonly #paths = new Map<string, string>();
  #last: { readonly token: string | undefined; readonly hasBody: boolean; readonly headers: Headers } | undefined;

  constructor(prefix: string, options: HttpOptions) {
    this.#prefix = prefix;
    this.#options = options;
  }

  request({ operation, path, token, body }: HttpCall): WireRequest {
    const text = body === undefined ? null : JSON.stringify(body);
    return { operation, path: this.#pathOf(path), headers: this.#headersOf(token, text !== null), body: text };
  }

  #pathOf(path: string): string {
    const known = this.#paths.get(path);
    if (known !== undefined) return known;
    const made = `${this.#prefix}/v1/${path.split('/').map(encodeURIComponent).join('/')}`;
    if (this.#paths.size >= maxPaths) this.#paths.clear();
    this.#paths.set(path, made);
    return made;
  }

  #headersOf(token: string | undefined, hasBody: boolean): Headers {
    const last = this.#last;
    // control: client.headers-token
    if (last !== undefined && last.token === token && last.hasBody === hasBody) return last.headers;
    const { userAgent, namespace } = this.#options;
    const headers: Record<string, string> = {
      'x-vault-request': 'true',
      accept: 'application/json',
      'user-agent': userAgent,
    };
    if (token !== undefined) headers['x-vault-token'] = token;
    if (namespace !== '') headers['x-vault-namespace'] = namespace;
    if (hasBody) headers['content-type'] = 'application/json';
    this.#last = { token, hasBody, headers };
    return headers;
  }
}

type Headers = Readonly<Record<string, string>>;
const maxPaths = 64;
