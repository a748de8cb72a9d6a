// Holds the connections and streams of the KMS socket to their bounds, below the gRPC library: it sees each stream before the library
// does, and every byte of a body before it is kept.

import {
  constants,
  type Http2Server,
  type Http2Session,
  type ServerHttp2Session,
  type ServerHttp2Stream,
  type ServerOptions,
} from 'node:http2';
import type { Socket } from 'node:net';
import type { Clock } from '../../shared/time/clock.ts';
import {
  type BoundReached,
  maxHeaderBytes,
  maxHeaderPairs,
  maxResets,
  maxSessionMiB,
  maxStreams,
  resetsPerSecond,
} from './bounds.ts';
import { type Connection, Connections } from './connections.ts';
import { HalfOpenStreams } from './half-open.ts';

/**
 * What the HTTP/2 server is made with. Its own limit of resets ends every call on the connection as INTERNAL, so ours, which cuts
 * the connection (UNAVAILABLE), is reached first.
 */
export const http2Options: ServerOptions = {
  settings: { maxConcurrentStreams: maxStreams, maxHeaderListSize: maxHeaderBytes },
  maxHeaderListPairs: maxHeaderPairs,
  maxSessionMemory: maxSessionMiB,
  streamResetBurst: 2 * maxResets, // control: guard.reset-burst
  streamResetRate: 2 * resetsPerSecond, // control: guard.reset-rate
  // Calls that were given up within one read are still counted by Node as open: more than 1 024 of them are rejected, one by one.
  maxSessionRejectedStreams: 2 * maxResets,
};

/** A stream on its way through the library. */
export type GuardedStream = {
  /** Equal for the streams of one connection. */
  readonly connection: object;
  /** The body is complete. */
  readonly complete: () => void;
  /** The answer was handed to the library. */
  readonly answered: () => void;
  /** Ends a stream whose rest nobody reads, after its answer. */
  readonly finish: () => void;
  /** Resets it: too much is asked for at a time. */
  readonly expel: () => void;
  /** What is answered when the body is late. */
  onLate: () => void;
  /** Runs once, when the stream has ended. */
  onClosed: () => void;
};

export type GuardOptions = {
  readonly clock: Clock;
  /** From the first byte of a call to its last; 0 means that only the transfer is limited. */
  readonly callMs: number;
  readonly reached: BoundReached;
};

export class Guard {
  readonly #connections: Connections;
  readonly #halfOpen: HalfOpenStreams;
  readonly #owners = new WeakMap<Http2Session, Connection>();
  #arriving: Socket | undefined;
  #opening: GuardedStream | undefined;

  /** @param server  made with `http2Options`; the library's listeners are on it already */
  constructor(server: Http2Server, { clock, callMs, reached }: GuardOptions) {
    this.#connections = new Connections(clock, reached);
    this.#halfOpen = new HalfOpenStreams(clock, callMs, reached);
    server.prependListener('session', (session) => this.#own(session));
    server.prependListener('stream', (stream) => this.#watch(stream));
  }

  /** Hands a connection to the library, or closes it. */
  accept(socket: Socket, inject: (socket: Socket) => void): void {
    if (!this.#connections.hasRoom()) return void socket.destroy();
    this.#arriving = socket;
    try {
      inject(socket);
    } finally {
      this.#arriving = undefined;
    }
  }

  /** The stream whose call the library is making at this moment. */
  opening(): GuardedStream | undefined {
    return this.#opening;
  }

  #own(session: ServerHttp2Session): void {
    const socket = this.#arriving;
    if (socket === undefined) return;
    const connection = this.#connections.open({
      sayGoodbye: () => session.close(),
      cut: () => socket.destroy(),
    });
    this.#owners.set(session, connection);
    cutOnError(session, socket);
    socket.once('close', connection.closed);
  }

  #watch(stream: ServerHttp2Stream): void {
    this.#opening = undefined;
    const connection = stream.session && this.#owners.get(stream.session);
    if (connection === undefined) return void stream.destroy();
    let isOurs = false;
    let isServed = false;
    const reset = (code: number) => {
      isOurs = true;
      stream.close(code);
    };
    const held = this.#halfOpen.open(connection, {
      refuse: () => reset(constants.NGHTTP2_REFUSED_STREAM),
      drop: () => reset(constants.NGHTTP2_CANCEL),
      timeOut: () => {
        guarded.onLate();
        held.answered();
        reset(constants.NGHTTP2_NO_ERROR);
      },
    });
    const guarded: GuardedStream = {
      connection,
      complete: () => {
        isServed = true;
        held.complete();
      },
      answered: () => {
        held.answered();
        if (isServed) connection.answered();
      },
      finish: () => reset(constants.NGHTTP2_NO_ERROR),
      expel: () => reset(constants.NGHTTP2_ENHANCE_YOUR_CALM),
      onLate: () => {},
      onClosed: () => {},
    };
    connection.streamOpened();
    stream.once('close', () => {
      held.closed();
      guarded.onClosed();
      connection.streamClosed(!isOurs && stream.rstCode !== constants.NGHTTP2_NO_ERROR);
    });
    copyBody(stream, held.grew);
    this.#opening = guarded;
  }
}

/** Node resets every stream of a session that fails as INTERNAL; of a connection that is gone a client learns UNAVAILABLE. */
function cutOnError(session: ServerHttp2Session, socket: Socket): void {
  const destroy = session.destroy.bind(session);
  session.destroy = (error, code) => {
    if (error !== undefined) socket.destroy();
    destroy(error, code);
  };
}

/** Small parts of a body would each keep the whole buffer that was read from the socket. */
function copyBody(stream: ServerHttp2Stream, grew: (sizeBytes: number) => void): void {
  const push = stream.push.bind(stream);
  stream.push = (chunk: unknown, encoding?: BufferEncoding) => {
    if (!Buffer.isBuffer(chunk)) return push(chunk, encoding);
    const copy = Buffer.allocUnsafeSlow(chunk.length);
    chunk.copy(copy);
    grew(copy.length); // control: guard.body-parts
    return push(copy);
  };
}
