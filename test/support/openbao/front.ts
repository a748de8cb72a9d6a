// What stands in front of an OpenBao in tests: a TLS listener on the loopback address that reads a request as OpenBao does and
// has it answered, by the development server in this process or by another OpenBao. Faults on demand, other certificates, lost
// connections and a stopped listener happen here, so they are the same before both.

import {
  createSecureServer,
  type Http2SecureServer,
  type Http2ServerRequest,
  type Http2ServerResponse,
} from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import type { Leaf } from '../pki.ts';
import { type Answer, notImplemented, Refusal, refuse } from './answer.ts';

/** What a fault does with a request it applies to; undefined: nothing. */
export type Fault = (
  request: FaultRequest,
) => Promise<Answer | 'close' | 'hang' | RawAnswer | undefined> | Answer | 'close' | 'hang' | RawAnswer | undefined;
export type FaultRequest = { readonly method: string; readonly path: string; readonly body: Record<string, unknown> };
/** Bytes instead of an answer of OpenBao. */
export type RawAnswer = {
  readonly raw: true;
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly text: string;
  readonly thenClose?: boolean;
};

export type Call = {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly token: string | undefined;
  readonly namespace: string;
  readonly body: Record<string, unknown>;
};

export type FrontOptions = {
  readonly leaf: Leaf;
  readonly port?: number;
  readonly minVersion?: 'TLSv1.1' | 'TLSv1.2';
  readonly maxVersion?: 'TLSv1.1' | 'TLSv1.3';
};

const maxBodyBytes = 33_554_432;
const maxStrings = 1000;

export abstract class Front {
  /** Requests so far, in their order. */
  readonly requests: { readonly method: string; readonly path: string }[] = [];
  fault: Fault | undefined;
  /** Added to the time that the header `Date` tells. */
  dateOffsetMs = 0;
  readonly #sockets = new Set<Socket>();
  #server: Http2SecureServer | undefined;
  #port = 0;

  protected abstract answer(call: Call): Promise<Answer> | Answer;

  /** Listens on the loopback address. */
  async listen({ leaf, port, minVersion, maxVersion }: FrontOptions): Promise<void> {
    const server = createSecureServer(
      {
        cert: leaf.certificate,
        key: leaf.key,
        allowHTTP1: true,
        requestCert: true,
        rejectUnauthorized: false,
        minVersion: minVersion ?? 'TLSv1.2',
        ...(maxVersion === undefined ? {} : { maxVersion }),
        ...(maxVersion === 'TLSv1.1' ? { ciphers: 'DEFAULT@SECLEVEL=0' } : {}),
      },
      (request, response) => void this.#serve(request, response),
    );
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
      socket.on('error', () => {});
    });
    server.on('tlsClientError', () => {});
    server.on('sessionError', () => {});
    server.setTimeout(0);
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port ?? 0, '127.0.0.1', resolve);
    });
    this.#port = (server.address() as AddressInfo).port;
  }

  get port(): number {
    return this.#port;
  }

  get address(): string {
    return `https://127.0.0.1:${this.#port}`;
  }

  /** New connections get this certificate. */
  useLeaf(leaf: Leaf): void {
    this.#server?.setSecureContext({ cert: leaf.certificate, key: leaf.key });
  }

  /** Closes every connection. */
  dropConnections(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Nobody listens any more, what stands behind keeps its data: connections are refused until `resume`. */
  pause(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#server?.listening !== true) return resolve();
      this.#server.close(() => resolve());
      this.dropConnections();
    });
  }

  resume(): Promise<void> {
    return new Promise((resolve) => this.#server?.listen(this.#port, '127.0.0.1', resolve));
  }

  close(): Promise<void> {
    return this.pause();
  }

  async #serve(request: Http2ServerRequest, response: Http2ServerResponse): Promise<void> {
    const namespace = request.headers['x-vault-namespace'];
    response.setHeader('cache-control', 'no-store');
    response.setHeader('content-type', 'application/json');
    response.setHeader('strict-transport-security', 'max-age=31536000; includeSubDomains');
    if (typeof namespace === 'string') response.setHeader('x-vault-namespace', namespace);
    try {
      const answer = await this.#read(request, String(namespace ?? ''));
      if (answer === 'hang') return;
      if (answer === 'close') return void request.socket.destroy();
      if ('raw' in answer) return sendRaw(answer, request, response);
      send(this.#dated(answer), request.method, response);
    } catch (error) {
      send(error instanceof Refusal ? error.answer : refuse(500, 'internal error'), request.method, response);
    }
  }

  #dated(answer: Answer): Answer {
    if (this.dateOffsetMs === 0) return answer;
    const date = new Date(Date.now() + this.dateOffsetMs).toUTCString();
    return { ...answer, headers: { ...answer.headers, date } };
  }

  async #read(request: Http2ServerRequest, namespace: string): Promise<Answer | 'close' | 'hang' | RawAnswer> {
    const url = request.url ?? '/';
    if (/[^\x20-\x7e]/u.test(decodeURIComponent(url))) return { status: 400, body: undefined };
    const text = await readBody(request);
    if (text === undefined) return refuse(413, 'http: request body too large');
    const [pathname = '', query = ''] = url.split('?');
    if (!pathname.startsWith('/v1/')) return refuse(404);
    const path = decodeURIComponent(pathname.slice('/v1/'.length));
    const method = request.method === 'PUT' ? 'POST' : (request.method ?? 'GET');
    if (!['GET', 'POST', 'DELETE', 'LIST', 'HEAD', 'PATCH'].includes(method)) return refuse(405);
    const body = parseBody(text);
    this.requests.push({ method, path });
    const fault = await this.fault?.({ method, path, body });
    if (fault !== undefined) return fault;
    if (request.headers['x-vault-wrap-ttl'] !== undefined) return notImplemented('X-Vault-Wrap-TTL');
    return this.answer({
      method,
      path,
      query,
      token: tokenOf(request),
      namespace: namespace.replace(/^\/+|\/+$/gu, ''),
      body,
    });
  }
}

function tokenOf(request: Http2ServerRequest): string | undefined {
  const token = request.headers['x-vault-token'];
  if (typeof token === 'string') return token.trim();
  return /^Bearer (.+)$/u.exec(request.headers.authorization ?? '')?.[1]?.trim();
}

async function readBody(request: Http2ServerRequest): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of request) {
    sizeBytes += (chunk as Buffer).length;
    if (sizeBytes <= maxBodyBytes) chunks.push(chunk as Buffer);
  }
  return sizeBytes > maxBodyBytes ? undefined : Buffer.concat(chunks).toString('utf8');
}

function parseBody(text: string): Record<string, unknown> {
  if (text.trim() === '') return {};
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Refusal(refuse(400, 'failed to decode JSON input: invalid character'));
  }
  if (value === null) return {};
  if (typeof value !== 'object' || Array.isArray(value)) {
    throw new Refusal(refuse(400, 'failed to decode JSON input: json: cannot unmarshal into Go value'));
  }
  if (countStrings(value) > maxStrings) {
    throw new Refusal(refuse(400, 'refused JSON input due to high complexity: exceeded maximum number of strings'));
  }
  return value as Record<string, unknown>;
}

function countStrings(value: unknown): number {
  if (typeof value === 'string') return 1;
  if (typeof value !== 'object' || value === null) return 0;
  const names = Array.isArray(value) ? 0 : Object.keys(value).length;
  return Object.values(value).reduce<number>((sum, child) => sum + countStrings(child), names);
}

const html = /[<>&]/gu;
const htmlEscapes: Record<string, string> = { '<': '\\u003c', '>': '\\u003e', '&': '\\u0026' };

function send(answer: Answer, method: string | undefined, response: Http2ServerResponse): void {
  if (response.destroyed) return;
  const hasBody = answer.body !== undefined && method !== 'HEAD';
  const json = hasBody ? JSON.stringify(answer.body).replace(html, (c) => htmlEscapes[c] ?? c) : '';
  const text = hasBody && answer.isWithoutLineFeed !== true ? `${json}\n` : json;
  for (const [name, value] of Object.entries(answer.headers ?? {})) response.setHeader(name, value);
  if (answer.status !== 204) response.setHeader('content-length', Buffer.byteLength(text));
  response.statusCode = answer.status;
  response.end(text);
}

function sendRaw(answer: RawAnswer, request: Http2ServerRequest, response: Http2ServerResponse): void {
  response.writeHead(answer.status, answer.headers);
  response.write(answer.text);
  if (answer.thenClose === true) setImmediate(() => request.socket.destroy());
  else response.end();
}
