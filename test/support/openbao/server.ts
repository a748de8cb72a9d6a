// The development OpenBao: real TLS, real AES-256-GCM, JWT login, policies, capabilities, in memory. It is no OpenBao: no
// audit, no seal, no access review; what it does not implement it refuses with 501. Faults on demand come through the
// object in this process, never through an API path.

import { randomUUID } from 'node:crypto';
import { Access, parsePolicy, secondsOf, type Token } from './access.ts';
import { type Answer, noContent, notImplemented, refuse, success, wrapped } from './answer.ts';
import { type Call, Front, type FrontOptions } from './front.ts';
import { type JwtMount, type JwtRole, publicKeys } from './jwt-method.ts';
import { TransitEngine } from './transit-engine.ts';

export const developmentVersion = '2.6.2+bao-kms-provider.dev';

export class DevelopmentServer extends Front {
  /** Engines by mount path. */
  readonly transit = new Map<string, TransitEngine>();
  readonly access = new Access(() => this.#nowMs());
  isSealed = false;
  /** Added to the wall clock. */
  clockOffsetMs = 0;

  get rootToken(): string {
    return this.access.rootToken;
  }

  #nowMs(): number {
    return Date.now() + this.clockOffsetMs;
  }

  protected answer(asked: Call): Answer {
    const { namespace } = asked;
    const isListed = asked.method === 'LIST' || /(?:^|&)list=true(?:&|$)/u.test(asked.query);
    const call = isListed ? { ...asked, method: 'GET' } : asked;
    if (call.path === 'sys/health') return this.#health(call.method, namespace);
    if (call.path === 'sys/unseal' && call.method === 'POST') this.isSealed = false;
    if (call.path === 'sys/seal-status' || call.path === 'sys/unseal')
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
    this.access.jwtMounts.set(name, { keys: [], algorithms: [], boundIssuer: '', roles: new Map() });
    return noContent;
  }

  #configureJwt(method: string, path: string, body: Record<string, unknown>): Answer | undefined {
    const found = [...this.access.jwtMounts].find(([mount]) => path.startsWith(`${mount}/`));
    if (found === undefined) return undefined;
    const [name, mount]: [string, JwtMount] = found;
    const inner = path.slice(name.length + 1);
    if (inner === 'config') {
      mount.keys = publicKeys((body['jwt_validation_pubkeys'] as string[] | undefined) ?? []);
      mount.algorithms = (body['jwt_supported_algs'] as string[] | undefined) ?? [];
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
    if (action === 'accessors') {
      return success({ keys: [...this.access.tokens.values()].map(({ accessor }) => accessor) });
    }
    if (action === 'revoke-accessor') {
      const found = [...this.access.tokens.values()].find(({ accessor }) => accessor === body['accessor']);
      if (found === undefined) return refuse(400, 'invalid accessor');
      this.access.tokens.delete(found.id);
      return noContent;
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

/** Starts on the loopback address. */
export async function startDevelopmentServer(options: FrontOptions): Promise<DevelopmentServer> {
  const openbao = new DevelopmentServer();
  await openbao.listen(options);
  return openbao;
}
