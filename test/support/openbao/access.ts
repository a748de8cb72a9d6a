// Tokens, policies and JWT login of the development server.

import { randomBytes, randomUUID } from 'node:crypto';
import { type Answer, type Auth, Refusal, refuse } from './answer.ts';
import { isAlgorithmSupported, isOutside, isSignedBy, type JwtMount } from './jwt-method.ts';

export type Capability = 'create' | 'read' | 'update' | 'delete' | 'list' | 'sudo' | 'deny' | 'root';
type Rule = { readonly pattern: string; readonly capabilities: readonly string[] };

/** The rules of an HCL policy: `path "x" { capabilities = ["read"] }`, nothing else. */
export function parsePolicy(hcl: string): readonly Rule[] {
  const rules: Rule[] = [];
  for (const [, pattern = '', body = ''] of hcl.matchAll(/path\s+"([^"]+)"\s*\{([^}]*)\}/gu)) {
    const list = /capabilities\s*=\s*\[([^\]]*)\]/u.exec(body)?.[1] ?? '';
    rules.push({ pattern, capabilities: [...list.matchAll(/"([a-z]+)"/gu)].map(([, name]) => name ?? '') });
  }
  return rules;
}

function matches(pattern: string, path: string): boolean {
  const source = pattern.replace(/[.*+?^${}()|[\]\\]/gu, '\\$&').replaceAll('\\+', '[^/]+');
  const prefix = source.endsWith('\\*') ? `${source.slice(0, -2)}.*` : source;
  return new RegExp(`^${prefix}$`, 'u').test(path);
}

export type Token = {
  readonly id: string;
  readonly accessor: string;
  readonly policies: readonly string[];
  readonly role: string | undefined;
  readonly issuedAtMs: number;
  expiresAtMs: number;
  readonly maxTtlSeconds: number;
  readonly ttlSeconds: number;
  readonly isRoot: boolean;
  readonly numUses: number;
};

const base62 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
const random62 = (length: number) => [...randomBytes(length)].map((byte) => base62[byte % 62]).join('');
const longestTtlSeconds = 768 * 3600;

export class Access {
  readonly policies = new Map<string, readonly Rule[]>();
  readonly tokens = new Map<string, Token>();
  readonly jwtMounts = new Map<string, JwtMount>();
  readonly rootToken: string;
  readonly #nowMs: () => number;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
    this.policies.set(
      'default',
      parsePolicy(
        'path "auth/token/lookup-self" { capabilities = ["read"] } path "auth/token/renew-self" { capabilities = ["update"] } ' +
          'path "auth/token/revoke-self" { capabilities = ["update"] } path "sys/capabilities-self" { capabilities = ["update"] }',
      ),
    );
    this.rootToken = this.issue(['root'], undefined, longestTtlSeconds, longestTtlSeconds, true).id;
  }

  issue(
    policies: readonly string[],
    role: string | undefined,
    ttlSeconds: number,
    maxTtlSeconds: number,
    isRoot = false,
    numUses = 0,
  ): Token {
    const nowMs = this.#nowMs();
    const token: Token = {
      id: `s.${random62(24)}`,
      accessor: random62(24),
      policies: [...policies].sort(),
      role,
      issuedAtMs: nowMs,
      expiresAtMs: isRoot ? Number.POSITIVE_INFINITY : nowMs + ttlSeconds * 1000,
      maxTtlSeconds,
      ttlSeconds,
      isRoot,
      numUses,
    };
    this.tokens.set(token.id, token);
    return token;
  }

  /** The living token, or undefined. */
  lookUp(id: string): Token | undefined {
    const token = this.tokens.get(id);
    if (token !== undefined && token.expiresAtMs <= this.#nowMs()) this.tokens.delete(id);
    return this.tokens.get(id);
  }

  capabilities(token: Token, path: string): readonly string[] {
    if (token.isRoot) return ['root'];
    const rules = token.policies.flatMap((name) => this.policies.get(name) ?? []);
    const best = rules
      .filter(({ pattern }) => matches(pattern, path))
      .sort((one, other) => other.pattern.length - one.pattern.length)[0]?.pattern;
    const granted = new Set(
      rules.filter(({ pattern }) => pattern === best).flatMap(({ capabilities }) => capabilities),
    );
    return granted.size === 0 || granted.has('deny') ? ['deny'] : [...granted].sort();
  }

  allows(token: Token, path: string, capability: Capability): boolean {
    const granted = this.capabilities(token, path);
    return granted.includes('root') || granted.includes(capability);
  }

  /** The `auth` object of a login or a renewal. */
  describe(token: Token): Auth {
    return {
      client_token: token.id,
      accessor: token.accessor,
      policies: token.policies,
      token_policies: token.policies,
      metadata: token.role === undefined ? null : { role: token.role },
      lease_duration: Math.ceil((token.expiresAtMs - this.#nowMs()) / 1000),
      renewable: true,
      entity_id: randomUUID(),
      token_type: 'service',
      orphan: true,
      mfa_requirement: null,
      num_uses: token.numUses,
    };
  }

  renew(token: Token, incrementSeconds: number): Token {
    if (token.isRoot) throw new Refusal(refuse(400, 'invalid lease ID'));
    const wanted = incrementSeconds > 0 ? incrementSeconds : token.ttlSeconds;
    const latestMs = token.issuedAtMs + token.maxTtlSeconds * 1000;
    token.expiresAtMs = Math.min(this.#nowMs() + wanted * 1000, latestMs);
    return token;
  }

  /** Checks in OpenBao's order; every failure is a 400. */
  loginWithJwt(mount: JwtMount, body: Record<string, unknown>): Token {
    const fail = (text: string): never => {
      throw new Refusal(refuse(400, text));
    };
    if (mount.keys.length === 0) fail('could not load configuration');
    const roleName = String(body['role'] ?? '').toLowerCase();
    if (roleName === '') fail('missing role');
    const role = mount.roles.get(roleName) ?? fail(`role "${roleName}" could not be found`);
    if (role.role_type !== 'jwt') fail('role with oidc role_type is not allowed');
    const jwt = String(body['jwt'] ?? '');
    if (jwt === '') fail('missing token');
    if (isOutside(role)) throw new Refusal(refuse(403, 'permission denied'));
    const claims = this.#verified(mount, jwt) ?? {};
    const invalid = (what: string) => fail(`error validating token: ${what}`);
    if (!isAlgorithmSupported(mount, jwt))
      invalid('invalid algorithm (alg) header parameter: token signed with unexpected algorithm');
    if (mount.boundIssuer !== '' && claims['iss'] !== mount.boundIssuer) invalid('invalid issuer (iss) claim');
    if (role.bound_subject !== undefined && claims['sub'] !== role.bound_subject)
      invalid('invalid subject (sub) claim');
    const audience = [claims['aud'] ?? []].flat();
    const bound = role.bound_audiences ?? [];
    if (bound.length > 0 && !bound.some((value) => audience.includes(value))) {
      invalid('invalid audience (aud) claim: audience claim does not match any expected audience');
    }
    this.#checkTimes(claims, invalid);
    if (audience.length > 0 && bound.length === 0)
      fail('audience claim found in JWT but no audiences bound to the role');
    const userClaim = role.user_claim ?? 'sub';
    if (claims[userClaim] === undefined) fail(`claim "${userClaim}" not found in token`);
    for (const [name, value] of Object.entries(role.bound_claims ?? {})) {
      if (claims[name] === undefined) fail(`error validating claims: claim "${name}" is missing`);
      if (claims[name] !== value)
        fail(`error validating claims: claim "${name}" does not match any associated bound claim values`);
    }
    const withDefault = role.token_no_default_policy === true ? [] : ['default'];
    const policies = [...(role.token_policies ?? []), ...withDefault];
    if (policies.includes('root')) fail('auth methods cannot create root tokens');
    const maxTtl = secondsOf(role.token_max_ttl) || longestTtlSeconds;
    const ttl = Math.min(secondsOf(role.token_ttl) || longestTtlSeconds, maxTtl);
    return this.issue(policies, roleName, ttl, maxTtl, false, role.token_num_uses);
  }

  #verified(mount: JwtMount, jwt: string): Record<string, unknown> | undefined {
    const refused = new Refusal(
      refuse(
        400,
        'error validating token: error verifying token signature: no known key successfully validated the token signature',
      ),
    );
    const [head = '', payload = '', signature = ''] = jwt.split('.');
    try {
      const { alg } = JSON.parse(Buffer.from(head, 'base64url').toString()) as { alg?: string };
      const signed = Buffer.from(`${head}.${payload}`);
      const bytes = Buffer.from(signature, 'base64url');
      const isGood = mount.keys.some((key) => isSignedBy(key, alg, signed, bytes));
      if (!isGood) throw refused;
      return JSON.parse(Buffer.from(payload, 'base64url').toString()) as Record<string, unknown>;
    } catch {
      throw refused;
    }
  }

  #checkTimes(claims: Record<string, unknown>, invalid: (what: string) => never): void {
    const nowSeconds = Math.floor(this.#nowMs() / 1000);
    const leeway = 60;
    const [iat, nbf, exp] = ['iat', 'nbf', 'exp'].map((name) => claims[name] as number | undefined);
    if (iat === undefined && nbf === undefined && exp === undefined) {
      invalid('no issued at (iat), not before (nbf), or expiration time (exp) claims in token');
    }
    const end = exp ?? Math.max(iat ?? 0, nbf ?? 0) + 150;
    const begin = nbf ?? iat ?? end - 150;
    if (nowSeconds + leeway < begin) invalid('invalid not before (nbf) claim: token not yet valid');
    if (nowSeconds - leeway >= end) invalid('invalid expiration time (exp) claim: token is expired');
    if (iat !== undefined && nowSeconds + leeway < iat)
      invalid('invalid issued at (iat) claim: token issued in the future');
  }
}

/** Seconds, or a Go duration string of whole units. */
export function secondsOf(value: unknown): number {
  if (typeof value === 'number') return value;
  if (typeof value !== 'string') return 0;
  if (/^[0-9]+$/u.test(value)) return Number(value);
  const units: Record<string, number> = { s: 1, m: 60, h: 3600 };
  return [...value.matchAll(/([0-9]+)([smh])/gu)].reduce(
    (sum, [, n, unit]) => sum + Number(n) * (units[unit ?? ''] ?? 0),
    0,
  );
}

export type { Answer };
