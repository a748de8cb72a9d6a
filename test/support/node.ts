// A node of OpenBao as the HTTP client meets it: a TLS listener on a loopback address that answers as a test says, with its
// connections counted.

import type { ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { Leaf } from './pki.ts';

export type NodeAnswer = {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly text?: string;
};
type NodeDeed = NodeAnswer | 'reset' | 'half' | 'hang';
export type NodeRequest = {
  /** Counted from 1, over the whole node. */
  readonly count: number;
  /** Of the connection that carries it, counted from 1. */
  readonly connection: number;
};
/** What happens to a request. */
export type NodeBehaviour = (request: NodeRequest) => NodeDeed | Promise<NodeDeed>;

export type PlayedNode = {
  readonly port: number;
  behaviour: NodeBehaviour;
  readonly requests: () => number;
  /** Since the start. */
  readonly connections: () => number;
  readonly openConnections: () => number;
  readonly close: () => Promise<void>;
};

export const good: NodeAnswer = { status: 200, text: '{"data":{}}' };
export const sealed: NodeAnswer = { status: 503, text: '{"errors":["Vault is sealed"]}' };

export async function startNode(
  leaf: Leaf,
  behaviour: NodeBehaviour,
  host = '127.0.0.1',
  port = 0,
): Promise<PlayedNode> {
  const open = new Map<Socket, number>();
  const counts = { requests: 0, connections: 0 };
  const server = createServer({ cert: leaf.certificate, key: leaf.key, keepAliveTimeout: 0 }, (request, response) => {
    counts.requests += 1;
    const played = { count: counts.requests, connection: open.get(request.socket) ?? 0 };
    request.resume();
    request.on('end', () => void play(response, node.behaviour(played)));
  });
  server.on('tlsClientError', () => {});
  server.on('secureConnection', (socket) => {
    counts.connections += 1;
    open.set(socket, counts.connections);
    socket.on('error', () => {});
    socket.once('close', () => open.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(port, host, resolve));
  const node: PlayedNode = {
    port: (server.address() as AddressInfo).port,
    behaviour,
    requests: () => counts.requests,
    connections: () => counts.connections,
    openConnections: () => open.size,
    close: () => {
      for (const socket of open.keys()) socket.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
  return node;
}

async function play(response: ServerResponse, behaviour: ReturnType<NodeBehaviour>): Promise<void> {
  const answer = await behaviour;
  if (answer === 'hang') return;
  if (answer === 'reset') return void response.socket?.destroy();
  if (answer === 'half') {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': '100' });
    response.write('{"data":', () => setImmediate(() => response.socket?.destroy()));
    return;
  }
  response.writeHead(answer.status, { 'content-type': 'application/json', ...answer.headers }).end(answer.text ?? '');
}
