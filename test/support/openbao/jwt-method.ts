// The JWT method of the development server: mount and role as an administrator writes them, and what they say of a JWT.

import { createPublicKey, type KeyObject, verify } from 'node:crypto';

export type JwtRole = {
  readonly bound_audiences?: readonly string[];
  readonly bound_subject?: string;
  readonly user_claim?: string;
  readonly role_type?: string;
  readonly token_policies?: readonly string[];
  readonly token_ttl?: number | string;
  readonly token_max_ttl?: number | string;
  readonly token_no_default_policy?: boolean;
  readonly token_num_uses?: number;
  readonly token_bound_cidrs?: readonly string[];
  readonly bound_claims?: Readonly<Record<string, unknown>>;
};

export type JwtMount = {
  keys: KeyObject[];
  /** Empty: every algorithm that this server knows. */
  algorithms: readonly string[];
  boundIssuer: string;
  roles: Map<string, JwtRole>;
};

/** Every caller of this server is on the loopback address. */
export function isOutside({ token_bound_cidrs: cidrs = [] }: JwtRole): boolean {
  return cidrs.length > 0 && !cidrs.some((cidr) => cidr.startsWith('127.'));
}

export function isAlgorithmSupported({ algorithms }: JwtMount, jwt: string): boolean {
  const header = Buffer.from(jwt.split('.')[0] ?? '', 'base64url').toString();
  const { alg } = JSON.parse(header) as { alg?: string };
  return algorithms.length === 0 || algorithms.includes(alg ?? '');
}

export function isSignedBy(key: KeyObject, alg: string | undefined, signed: Buffer, signature: Buffer): boolean {
  if (alg === 'ES256' && key.asymmetricKeyType === 'ec') {
    return verify('sha256', signed, { key, dsaEncoding: 'ieee-p1363' }, signature);
  }
  if (alg === 'RS256' && key.asymmetricKeyType === 'rsa') return verify('sha256', signed, key, signature);
  return alg === 'EdDSA' && key.asymmetricKeyType === 'ed25519' && verify(null, signed, key, signature);
}

export function publicKeys(pems: readonly string[]): KeyObject[] {
  return pems.map((pem) => createPublicKey(pem));
}
