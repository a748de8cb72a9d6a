// /live, /ready and /metrics over plain HTTP on inherited descriptors. Answered from memory; nothing here calls OpenBao.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ProviderError } from '../../shared/errors/error.ts';
import { type ReadyFacts, readyBody } from './ready.ts';

export type HttpEndpoint = {
  /**
   * @throws ProviderError `listener_unavailable` when the address is not the one that the supervisor bound
   */
  readonly listen: (descriptor: number, expected: { readonly host: string; readonly port: number }) => Promise<void>;
  readonly close: () => Promise<void>;
};

type Answer = { readonly status: number; readonly contentType: string; readonly body: string };
type Route = (path: string) => Promise<Answer> | Answer;

const json = 'application/json';

/** @param facts  may throw; then the answer says so */
export function createHealthEndpoint(isLive: () => boolean, facts: () => ReadyFacts): HttpEndpoint {
  return createEndpoint(['GET', 'HEAD'], (path) => {
    if (path === '/live') {
      const isUp = isLive();
      return {
        status: isUp ? 200 : 503,
        contentType: json,
        body: JSON.stringify({ status: isUp ? 'ok' : 'unavailable' }),
      };
    }
    if (path === '/ready') return { contentType: json, ...readyBody(factsOrNone(facts)) };
    return notFound;
  });
}

function factsOrNone(facts: () => ReadyFacts): ReadyFacts | undefined {
  try {
    return facts();
  } catch {
    return undefined;
  }
}

export function createMetricsEndpoint(text: () => Promise<string>): HttpEndpoint {
  return createEndpoint(['GET'], async (path) => {
    if (path !== '/metrics') return notFound;
    return { status: 200, contentType: 'text/plain; version=0.0.4; charset=utf-8', body: await text() };
  });
}

const notFound: Answer = { status: 404, contentType: 'text/plain', body: 'not found\n' };

function createEndpoint(methods: readonly string[], route: Route): HttpEndpoint {
  const server = createServer(
    { maxHeaderSize: 8_192 },
    (request, response) => void serve(methods, route, request, response),
  );
  server.headersTimeout = 5_000;
  server.requestTimeout = 10_000;
  server.keepAliveTimeout = 30_000;
  server.timeout = 30_000;
  server.maxConnections = 64;
  return {
    listen: (descriptor, expected) => listen(server, descriptor, expected),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeIdleConnections();
      }),
  };
}

async function serve(
  methods: readonly string[],
  route: Route,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const isAllowed = methods.includes(request.method ?? '');
  const answer = isAllowed ? await answerOf(route, request.url ?? '') : methodNotAllowed;
  const length = Buffer.byteLength(answer.body);
  response.writeHead(answer.status, { 'content-type': answer.contentType, 'content-length': length });
  response.end(request.method === 'HEAD' ? undefined : answer.body);
}

const methodNotAllowed: Answer = { status: 405, contentType: 'text/plain', body: 'method not allowed\n' };

async function answerOf(route: Route, url: string): Promise<Answer> {
  try {
    return await route(url.split('?')[0] ?? '');
  } catch {
    return { status: 500, contentType: 'text/plain', body: 'internal error\n' };
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
