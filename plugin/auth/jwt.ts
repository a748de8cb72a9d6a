// The JWT as we look at it before it is sent: form and claims, in the order of auth 4.3. OpenBao verifies the signature.
// Errors name the rule; never a claim value, expected or found.

import { type ErrorClass, ProviderError } from '../../shared/errors/error.ts';

export type JwtRules = {
  readonly minRemainingTtlMs: number;
  readonly clockSkewLeewayMs: number;
  readonly expectedIssuer: string;
  readonly expectedAudience: readonly string[];
  readonly expectedSubject: string;
};

export type CheckedJwt = { readonly text: string; readonly expiresAtUnixMs: number };

/** Largest JWT that is looked at, bytes. */
const greatestJwtBytes = 1024 * 1024;

/**
 * @param bytes  as read from the file; surrounding white space is dropped
 * @param nowUnixMs  wall clock
 * @throws ProviderError `jwt_malformed`, then one of the claim classes in the order of auth 4.3
 */
export function checkJwt(bytes: Buffer, rules: JwtRules, nowUnixMs: number): CheckedJwt {
  const claims = parseJwt(bytes);
  const leewayMs = rules.clockSkewLeewayMs;
  const demand = (holds: boolean, errorClass: ErrorClass, message: string) => {
    if (!holds) throw new ProviderError(errorClass, message);
  };
  demand(claims.nbfMs === undefined || nowUnixMs + leewayMs >= claims.nbfMs, 'jwt_not_yet_valid', 'jwt not yet valid');
  demand(
    claims.iatMs === undefined || nowUnixMs + leewayMs >= claims.iatMs,
    'jwt_issued_in_future',
    'jwt issued in future',
  );
  const { expectedIssuer, expectedAudience, expectedSubject } = rules;
  demand(expectedIssuer === '' || claims.iss === expectedIssuer, 'jwt_issuer_mismatch', 'jwt issuer mismatch');
  const isAudience = expectedAudience.length === 0 || expectedAudience.some((value) => claims.aud.includes(value));
  demand(isAudience, 'jwt_audience_mismatch', 'jwt audience mismatch');
  demand(expectedSubject === '' || claims.sub === expectedSubject, 'jwt_subject_mismatch', 'jwt subject mismatch');
  demand(nowUnixMs - leewayMs < claims.expMs, 'jwt_expired', 'jwt expired');
  demand(claims.expMs - nowUnixMs > rules.minRemainingTtlMs, 'jwt_near_expiry', 'jwt near expiry');
  return { text: claims.text, expiresAtUnixMs: claims.expMs };
}

type Claims = {
  readonly text: string;
  readonly iss: unknown;
  readonly sub: unknown;
  readonly aud: readonly unknown[];
  readonly expMs: number;
  readonly nbfMs: number | undefined;
  readonly iatMs: number | undefined;
};

/** @throws ProviderError `jwt_malformed` */
function parseJwt(bytes: Buffer): Claims {
  const text = bytes.length > greatestJwtBytes ? '' : bytes.toString('utf8').trim();
  const parts = text.split('.');
  const [head = '', payload = '', signature = ''] = parts;
  const isFormed = parts.length === 3 && head !== '' && payload !== '' && signature !== '' && !/\s/u.test(text);
  if (!isFormed) throw malformed('has not three parts');
  const header = parsePart(head);
  const isSigned = typeof header['alg'] === 'string' && header['alg'].toLowerCase() !== 'none';
  if (!isSigned) throw malformed('is not signed');
  const claims = parsePart(payload);
  const expMs = readTimeMs(claims['exp']);
  if (expMs === undefined) throw malformed('has no exp');
  const nbfMs = readTimeMs(claims['nbf']);
  const iatMs = readTimeMs(claims['iat']);
  return { text, iss: claims['iss'], sub: claims['sub'], aud: readAudience(claims['aud']), expMs, nbfMs, iatMs };
}

function parsePart(part: string): Record<string, unknown> {
  if (!/^[A-Za-z0-9_-]+={0,2}$/u.test(part)) throw malformed('is not base64url');
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(part, 'base64url').toString('utf8'), wholeSeconds);
  } catch {
    throw malformed('is not JSON');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw malformed('is no object');
  return value as Record<string, unknown>;
}

/**
 * Times are decimal digits with an optional fraction, as RFC 7519 allows, and become whole seconds from their spelling, which
 * JSON.parse rounds: never valid for longer than it says. Exponents and signs, which no known issuer writes, are refused.
 *
 * @see RFC 7519, 2: NumericDate, "non-integer values can be represented"
 */
function wholeSeconds(this: unknown, name: string, value: unknown, context?: { readonly source?: string }): unknown {
  if (typeof value !== 'number' || !(name === 'exp' || name === 'nbf' || name === 'iat')) return value;
  const [isTime, seconds, fraction = ''] = /^([0-9]+)(?:\.([0-9]+))?$/u.exec(context?.source ?? '') ?? [];
  if (isTime === undefined) return 'malformed';
  const isRoundedUp = name !== 'exp' && /[1-9]/u.test(fraction);
  return Number(seconds) + (isRoundedUp ? 1 : 0);
}

/** Seconds → milliseconds; undefined when absent or null. */
function readTimeMs(value: unknown): number | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0)
    throw malformed('has a time that is no number of seconds');
  return value * 1000;
}

function readAudience(value: unknown): readonly unknown[] {
  if (value === undefined || value === null) return [];
  if (typeof value === 'string') return [value];
  if (!Array.isArray(value) || !value.every((item) => typeof item === 'string')) throw malformed('has a malformed aud');
  return value;
}

function malformed(what: string): ProviderError {
  return new ProviderError('jwt_malformed', `jwt malformed: it ${what}`);
}
