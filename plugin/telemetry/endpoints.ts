// /live, /ready and /metrics over plain HTTP on inherited descriptors: one request a connection, answered from memory; nothing here
// calls OpenBao. What strangers on the host may hold of it is bounded (docs/limits.md), whatever they send and however slowly.

import { STATUS_CODES } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { ProviderError } from '../../shared/errors/error.ts';
import type { Clock } from '../../shared/time/clock.ts';
import type { Reached } from './bounds.ts';
import { type Asked, readRequest } from './one-request.ts';
import { type ReadyFacts, readyBody } from './ready.ts';
import { createVisitors, type Visitor, type Visitors } from './visitors.ts';

export type HttpEndpoint = {
  /**
   * @throws ProviderError `listener_unavailable` when the address is not the one that the supervisor bound
   */
  readonly listen: (descriptor: number, expected: { readonly host: string; readonly port: number }) => Promise<void>;
  /** Takes no more connections; those that are there are heard and get their answer. Resolves within a second. */
  readonly close: () => Promise<void>;
};

export type EndpointDeps = { readonly clock: Clock; readonly reached: Reached };

type Answer = { readonly status: number; readonly contentType: string; readonly body: string };
type Route = (path: string) => Promise<Answer> | Answer;

const json = 'application/json';

/** One text of /metrics serves everybody who asks within this time. */
export const sharedTextMs = 1_000;
/** After the answer was sent: what still comes is thrown away for so long; a reset because of it would take the answer along. */
const lingerMs = 500;

/** @param facts  may throw; then the answer says so */
export function createHealthEndpoint(deps: EndpointDeps, isLive: () => boolean, facts: () => ReadyFacts): HttpEndpoint {
  return createEndpoint(deps, ['GET', 'HEAD'], (path) => {
    if (path === '/live') {
      const isUp = isLive();
      return {
        status: isUp ? 200 : 503,
        contentType: json,
        body: JSON.stringify({ status: isUp ? 'ok' : 'unavailable' }),
      };
    }
    if (path === '/ready') return { contentType: json, ...readyBody(factsOrNone(facts)) };
    return plain(404, 'not found');
  });
}

function factsOrNone(facts: () => ReadyFacts): ReadyFacts | undefined {
  try {
    return facts();
  } catch {
    return undefined;
  }
}

/** @param text  a rendering costs milliseconds and tens of kilobytes, so it is shared */
export function createMetricsEndpoint(deps: EndpointDeps, text: () => Promise<string>): HttpEndpoint {
  let shared: Promise<string> | undefined;
  let renderedAtMs = 0;
  const sharedText = () => {
    const nowMs = deps.clock.nowMs();
    // control: endpoints.shared-text
    if (shared === undefined || nowMs - renderedAtMs >= sharedTextMs) {
      [shared, renderedAtMs] = [text(), nowMs];
    }
    return shared;
  };
  return createEndpoint(deps, ['GET'], async (path) => {
    if (path !== '/metrics') return plain(404, 'not found');
    return { status: 200, contentType: 'text/plain; version=0.0.4; charset=utf-8', body: await sharedText() };
  });
}

const plain = (status: number, text: string): Answer => ({ status, contentType: 'text/plain', body: `${text}\n` });

function createEndpoint(deps: EndpointDeps, methods: readonly string[], route: Route): HttpEndpoint {
  const visitors = createVisitors(deps.clock, (reason) =>
    deps.reached(reason === 'crowded' ? 'diagnostics_connections' : 'diagnostics_time'),
  );
  const answer = async ({ method, path }: Asked) =>
    methods.includes(method) ? answerOf(route, path) : plain(405, 'method not allowed');
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    visit(socket, visitors, deps, answer);
  });
  return {
    listen: (descriptor, expected) => listen(server, descriptor, expected),
    close: () => {
      server.close();
      return visitors.close();
    },
  };
}

/** One connection: its request is read, answered once, and it ends. */
function visit(
  socket: Socket,
  visitors: Visitors,
  { clock, reached }: EndpointDeps,
  answer: (asked: Asked) => Promise<Answer>,
): void {
  let received = Buffer.alloc(0);
  let isServed = false;
  const visitor: Visitor = {
    get isServed() {
      return isServed;
    },
    end: () => socket.destroy(),
  };
  const left = visitors.enter(visitor);
  socket.once('close', left);
  socket.on('error', () => socket.destroy());
  const end = (text: string) => {
    socket.end(text, () => {
      const cancel = clock.after(lingerMs, () => socket.destroy());
      socket.once('close', cancel);
    });
  };
  const hear = (chunk: Buffer) => {
    received = Buffer.concat([received, chunk]);
    const asked = readRequest(received);
    if (asked === 'incomplete') return;
    isServed = true;
    received = Buffer.alloc(0);
    socket.off('data', hear); // control: endpoints.one-request
    // Read and thrown away: a reset because of unread bytes would take the answer with it.
    socket.resume();
    if (typeof asked === 'string') {
      if (asked === 'too_large') reached('diagnostics_head');
      return end(asked === 'too_large' ? shown(plain(431, 'request too large')) : shown(plain(400, 'bad request')));
    }
    if (asked.isFollowed) reached('diagnostics_pipelining');
    void answer(asked).then((one) => end(conversation(asked, one)));
  };
  socket.on('data', hear);
  socket.once('end', () => {
    if (!isServed) socket.destroy();
  });
}

/** The answer, and one refusal for everything that was sent behind the request. */
function conversation({ method, isFollowed }: Asked, answer: Answer): string {
  if (!isFollowed) return shown(answer, method === 'HEAD'); // control: endpoints.pipelined
  return shown(answer, method === 'HEAD', 'keep-alive') + shown(plain(503, 'one request for each connection'));
}

function shown({ status, contentType, body }: Answer, isHead = false, connection = 'close'): string {
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`,
    `content-type: ${contentType}`,
    `content-length: ${Buffer.byteLength(body)}`,
    `connection: ${connection}`,
  ];
  return `${head.join('\r\n')}\r\n\r\n${isHead ? '' : body}`;
}

async function answerOf(route: Route, path: string): Promise<Answer> {
  try {
    return await route(path);
  } catch {
    return plain(500, 'internal error');
  }
}

/** A TCP port in use shows only here: the runtime would listen on a random port of every address instead. */
function listen(server: Server, descriptor: number, expected: { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ fd: descriptor }, () => {
      const address = server.address() as AddressInfo | string | null;
      const isExpected =
        typeof address === 'object' && address?.address === expected.host && address.port === expected.port;
      if (isExpected) return resolve();
      server.close();
      reject(new ProviderError('listener_unavailable', 'a listener is not on the address that was bound for it'));
    });
  });
}
