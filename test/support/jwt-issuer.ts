// An issuer of JWTs: one signing key, tokens with whatever claims a test wants.

import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';

export type JwtIssuer = {
  readonly publicKeyPem: string;
  /** A signed token; `claims` override the defaults, undefined ones are left out. */
  readonly issue: (claims?: Record<string, unknown>, header?: Record<string, unknown>) => string;
};

export const issuerDefaults = {
  issuer: 'https://issuer.test',
  audience: 'bao-kms-provider',
  subject: 'system:openbao-kms:test',
} as const;

export function createJwtIssuer(lifetimeSeconds = 3600): JwtIssuer {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return {
    publicKeyPem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    issue: (claims = {}, header = {}) => issueWith(privateKey, lifetimeSeconds, claims, header),
  };
}

function issueWith(
  key: KeyObject,
  lifetimeSeconds: number,
  claims: Record<string, unknown>,
  header: Record<string, unknown>,
): string {
  const now = Math.floor(Date.now() / 1000);
  const payload = {
    iss: issuerDefaults.issuer,
    aud: [issuerDefaults.audience],
    sub: issuerDefaults.subject,
    iat: now,
    nbf: now,
    exp: now + lifetimeSeconds,
    ...claims,
  };
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${part({ alg: 'ES256', typ: 'JWT', ...header })}.${part(payload)}`;
  const signature = sign('sha256', Buffer.from(signed), { key, dsaEncoding: 'ieee-p1363' });
  return `${signed}.${signature.toString('base64url')}`;
}
