// The development OpenBao: real TLS, real AES-256-GCM, JWT login, policies, capabilities, in memory. It is no OpenBao: no
// audit, no seal, no access review; what it does not implement it refuses with 501. Faults on demand come through the
// object in this process, never through an API path.

import { randomUUID } from 'node:crypto';
import {
  createSecureServer,
  type Http2SecureServer,
  type Http2ServerRequest,
  type Http2ServerResponse,
} from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import type { Leaf } from '../pki.ts';
import { Access, type JwtMount, type JwtRole, parsePolicy, publicKeys, secondsOf, type Token } from './access.ts';
import { type Answer, noContent, notImplemented, Refusal, refuse, success, wrapped } from './answer.ts';
import { TransitEngine } from './transit-engine.ts';

export const developmentVersion = '2.6.2+bao-kms-provider.dev';

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

export type DevelopmentServer = {
  readonly address: string;
  readonly port: number;
  readonly rootToken: string;
  readonly access: Access;
  /** Engines by mount path. */
  readonly transit: Map<string, TransitEngine>;
  /** Requests answered so far, by `METHOD path`. */
  readonly requests: { readonly method: string; readonly path: string }[];
  fault: Fault | undefined;
  isSealed: boolean;
  /** Added to the wall clock. */
  clockOffsetMs: number;
  /** New connections get this certificate. */
  readonly useLeaf: (leaf: Leaf) => void;
  /** Closes every connection. */
  readonly dropConnections: () => void;
  /** The process is gone, its data is not: connections are refused until `resume`. */
  readonly pause: () => Promise<void>;
  readonly resume: () => Promise<void>;
  readonly close: () => Promise<void>;
};

const greatestBodyBytes = 33_554_432;
const greatestStrings = 1000;

export type DevelopmentOptions = {
  readonly leaf: Leaf;
  readonly port?: number;
  readonly minVersion?: 'TLSv1.1' | 'TLSv1.2';
  readonly maxVersion?: 'TLSv1.1' | 'TLSv1.3';
};

/** Starts on the loopback address. */
export async function startDevelopmentServer(options: DevelopmentOptions): Promise<DevelopmentServer> {
  const openbao = new DevelopmentOpenBao();
  const server = createSecureServer(
    {
      cert: options.leaf.certificate,
      key: options.leaf.key,
      allowHTTP1: true,
      requestCert: true,
      rejectUnauthorized: false,
      minVersion: options.minVersion ?? 'TLSv1.2',
      ...(options.maxVersion === undefined ? {} : { maxVersion: options.maxVersion }),
      ...(options.maxVersion === 'TLSv1.1' ? { ciphers: 'DEFAULT@SECLEVEL=0' } : {}),
    },
    (request, response) => void openbao.serve(request, response),
  );
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    socket.on('error', () => {});
  });
  server.on('tlsClientError', () => {});
  server.on('sessionError', () => {});
  server.setTimeout(0);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port ?? 0, '127.0.0.1', resolve);
  });
  return Object.assign(openbao, handleOf(server, sockets, openbao));
}

function handleOf(server: Http2SecureServer, sockets: ReadonlySet<Socket>, openbao: DevelopmentOpenBao) {
  const { port } = server.address() as AddressInfo;
  const dropConnections = () => {
    for (const socket of sockets) socket.destroy();
  };
  const close = () =>
    new Promise<void>((resolve) => {
      if (!server.listening) return resolve();
      server.close(() => resolve());
      dropConnections();
    });
  return {
    port,
    address: `https://127.0.0.1:${port}`,
    rootToken: openbao.access.rootToken,
    useLeaf: (leaf: Leaf) => server.setSecureContext({ cert: leaf.certificate, key: leaf.key }),
    dropConnections,
    pause: close,
    resume: () => new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve)),
    close,
  };
}

type Call = {
  readonly method: string;
  readonly path: string;
  readonly token: string | undefined;
  readonly body: Record<string, unknown>;
};

class DevelopmentOpenBao {
  readonly transit = new Map<string, TransitEngine>();
  readonly access = new Access(() => this.#nowMs());
  readonly requests: { method: string; path: string }[] = [];
  fault: Fault | undefined;
  isSealed = false;
  clockOffsetMs = 0;

  #nowMs(): number {
    return Date.now() + this.clockOffsetMs;
  }

  async serve(request: Http2ServerRequest, response: Http2ServerResponse): Promise<void> {
    const namespace = request.headers['x-vault-namespace'];
    response.setHeader('cache-control', 'no-store');
    response.setHeader('content-type', 'application/json');
    response.setHeader('strict-transport-security', 'max-age=31536000; includeSubDomains');
    if (typeof namespace === 'string') response.setHeader('x-vault-namespace', namespace);
    try {
      const answer = await this.#answer(request, String(namespace ?? ''));
      if (answer === 'hang') return;
      if (answer === 'close') return void request.socket.destroy();
      if ('raw' in answer) return sendRaw(answer, request, response);
      send(answer, request.method, response);
    } catch (error) {
      send(error instanceof Refusal ? error.answer : refuse(500, 'internal error'), request.method, response);
    }
  }

  async #answer(request: Http2ServerRequest, namespace: string): Promise<Answer | 'close' | 'hang' | RawAnswer> {
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
    const token = tokenOf(request);
    const isListed = method === 'LIST' || /(?:^|&)list=true(?:&|$)/u.test(query);
    return this.#route({ method: isListed ? 'GET' : method, path, token, body }, namespace.replace(/^\/+|\/+$/gu, ''));
  }

  #route(call: Call, namespace: string): Answer {
    if (call.path === 'sys/health') return this.#health(call.method, namespace);
    if (call.path === 'sys/seal-status')
      return {
        status: 200,
        body: { type: 'shamir', initialized: true, sealed: this.isSealed, version: developmentVersion },
      };
    if (this.isSealed) return refuse(503, 'Vault is sealed');
    if (namespace !== '' && namespace !== 'root') return refuse(404, 'namespace not found');
    if (call.method !== 'GET' && call.path.endsWith('/')) return refuse(400, "cannot write to a path ending in '/'");
    const login = /^(auth\/.+)\/login$/u.exec(call.path)?.[1];
    const mount = login === undefined ? undefined : this.access.jwtMounts.get(login);
    if (mount !== undefined && call.method === 'POST') {
      const token = this.access.loginWithJwt(mount, call.body);
      return success(null, this.access.describe(token));
    }
    return this.#authorized(call);
  }

  #authorized(call: Call): Answer {
    const token = this.access.lookUp(call.token ?? '');
    if (token === undefined) return refuse(403, 'permission denied');
    const [mount, engine] = this.#engineOf(call.path) ?? [];
    const inner = mount === undefined ? '' : call.path.slice(mount.length + 1);
    const isCreate = call.method === 'POST' && engine?.needsCreate(inner) === true;
    const capability =
      call.method === 'GET' ? 'read' : call.method === 'DELETE' ? 'delete' : isCreate ? 'create' : 'update';
    if (!this.access.allows(token, call.path, capability)) return wrapped(403, 'permission denied');
    if (engine !== undefined) {
      const verb = call.method === 'GET' ? 'read' : call.method === 'DELETE' ? 'delete' : 'write';
      return engine.handle(verb, inner, call.body, Math.floor(this.#nowMs() / 1000));
    }
    return this.#system(call, token);
  }

  #engineOf(path: string): readonly [string, TransitEngine] | undefined {
    return [...this.transit].find(([mount]) => path.startsWith(`${mount}/`));
  }

  #system({ method, path, body }: Call, token: Token): Answer {
    if (path === 'sys/capabilities-self') return this.#capabilities(token, body);
    if (path.startsWith('auth/token/')) return this.#tokens(path.slice('auth/token/'.length), token, body);
    const [, area, name = ''] = /^sys\/(mounts|auth|policies\/acl)\/(.+)$/u.exec(path) ?? [];
    if (area === 'mounts') return this.#mount(method, name, body);
    if (area === 'auth') return this.#mountAuth(method, `auth/${name}`, body);
    if (area === 'policies/acl') {
      if (method === 'DELETE') this.access.policies.delete(name);
      else this.access.policies.set(name, parsePolicy(String(body['policy'] ?? '')));
      return noContent;
    }
    if (path === 'sys/seal') {
      this.isSealed = true;
      return noContent;
    }
    if (path.startsWith('sys/')) return notImplemented(path);
    return (
      this.#configureJwt(method, path, body) ?? refuse(404, `no handler for route "${path}". route entry not found.`)
    );
  }

  #mount(method: string, name: string, body: Record<string, unknown>): Answer {
    if (method === 'DELETE') {
      this.transit.delete(name);
      return noContent;
    }
    if (body['type'] !== 'transit') return notImplemented('other mounts');
    if (this.transit.has(name)) return refuse(400, `path is already in use at ${name}/`);
    this.transit.set(name, new TransitEngine());
    return noContent;
  }

  #mountAuth(method: string, name: string, body: Record<string, unknown>): Answer {
    if (method === 'DELETE') {
      this.access.jwtMounts.delete(name);
      return noContent;
    }
    if (body['type'] !== 'jwt') return notImplemented('other auth methods');
    if (this.access.jwtMounts.has(name)) return refuse(400, `path is already in use at ${name.slice('auth/'.length)}/`);
    this.access.jwtMounts.set(name, { keys: [], boundIssuer: '', roles: new Map() });
    return noContent;
  }

  #configureJwt(method: string, path: string, body: Record<string, unknown>): Answer | undefined {
    const found = [...this.access.jwtMounts].find(([mount]) => path.startsWith(`${mount}/`));
    if (found === undefined) return undefined;
    const [name, mount]: [string, JwtMount] = found;
    const inner = path.slice(name.length + 1);
    if (inner === 'config') {
      mount.keys = publicKeys((body['jwt_validation_pubkeys'] as string[] | undefined) ?? []);
      mount.boundIssuer = String(body['bound_issuer'] ?? '');
      return noContent;
    }
    const role = /^role\/([^/]+)$/u.exec(inner)?.[1];
    if (role === undefined) return wrapped(404, 'unsupported path');
    if (method === 'DELETE') mount.roles.delete(role);
    else mount.roles.set(role.toLowerCase(), body as JwtRole);
    return noContent;
  }

  #tokens(action: string, token: Token, body: Record<string, unknown>): Answer {
    if (action === 'renew-self') {
      const role = token.role;
      const isRoleGone =
        role !== undefined && ![...this.access.jwtMounts.values()].some(({ roles }) => roles.has(role));
      if (isRoleGone) {
        return wrapped(500, `failed to renew entry: role ${role} does not exist during renewal`);
      }
      return success(null, this.access.describe(this.access.renew(token, secondsOf(body['increment']))));
    }
    if (action === 'lookup-self') {
      return success({
        id: token.id,
        accessor: token.accessor,
        policies: token.policies,
        path: 'auth/token',
        type: 'service',
      });
    }
    if (action === 'revoke-self') {
      this.access.tokens.delete(token.id);
      return noContent;
    }
    if (action === 'create') {
      const policies = Array.isArray(body['policies']) ? body['policies'].map(String) : token.policies;
      const ttl = secondsOf(body['ttl']) || 3600;
      return success(null, this.access.describe(this.access.issue(policies, undefined, ttl, ttl)));
    }
    return notImplemented(`auth/token/${action}`);
  }

  #capabilities(token: Token, body: Record<string, unknown>): Answer {
    const raw = body['paths'] ?? body['path'];
    const paths = typeof raw === 'string' ? raw.split(',') : Array.isArray(raw) ? raw.map(String) : [];
    if (paths.length === 0) return refuse(400, 'paths must be supplied');
    const data = Object.fromEntries(
      paths.map((path) => [path, this.access.capabilities(token, path.replace(/^\//u, ''))]),
    );
    const [only] = paths;
    const single = paths.length === 1 && only !== undefined ? { capabilities: data[only] } : {};
    const answer = success({ ...single, ...data });
    return { ...answer, body: { ...single, ...data, ...(answer.body as object) } };
  }

  #health(method: string, namespace: string): Answer {
    if (namespace !== '') return refuse(400, 'operation unavailable in namespaces');
    if (method !== 'GET' && method !== 'HEAD') return refuse(405);
    const body = {
      initialized: true,
      sealed: this.isSealed,
      standby: this.isSealed,
      replication_performance_mode: 'disabled',
      replication_dr_mode: 'disabled',
      server_time_utc: Math.floor(this.#nowMs() / 1000),
      version: developmentVersion,
      cluster_name: 'development',
      cluster_id: randomUUID(),
    };
    return { status: this.isSealed ? 503 : 200, body };
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
    if (sizeBytes <= greatestBodyBytes) chunks.push(chunk as Buffer);
  }
  return sizeBytes > greatestBodyBytes ? undefined : Buffer.concat(chunks).toString('utf8');
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
  if (countStrings(value) > greatestStrings) {
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
  const text = hasBody ? `${JSON.stringify(answer.body).replace(html, (c) => htmlEscapes[c] ?? c)}\n` : '';
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
