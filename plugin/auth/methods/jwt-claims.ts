// The JWT as we look at it before it is sent: form and claims, in a fixed order (spec/login 1.1). OpenBao verifies the signature.
// Errors name the rule; never a claim value, expected or found.

import { type ErrorClass, ProviderError } from '../../../shared/errors/error.ts';

export type JwtRules = {
  readonly minRemainingTtlMs: number;
  readonly clockSkewLeewayMs: number;
  readonly expectedIssuer: string;
  readonly expectedAudience: readonly string[];
  readonly expectedSubject: string;
};

export type CheckedJwt = { readonly text: string; readonly expiresAtUnixMs: number };

/** Largest JWT that is looked at, bytes. */
const maxJwtBytes = 1024 * 1024;

/** What an operator does about a JWT that is not sent. */
const sentences = {
  jwt_not_yet_valid:
    'the nbf of the JWT lies ahead of the clock of this node; check the clocks of the issuer and of this node',
  jwt_issued_in_future:
    'the iat of the JWT lies ahead of the clock of this node; check the clocks of the issuer and of this node',
  jwt_issuer_mismatch: 'the iss of the JWT is not auth.jwt.expectedIssuer; check which issuer writes the file',
  jwt_audience_mismatch:
    'the aud of the JWT holds none of auth.jwt.expectedAudience; check what the issuer is asked for',
  jwt_subject_mismatch: 'the sub of the JWT is not auth.jwt.expectedSubject; check for whom the JWT was issued',
  jwt_expired: 'the exp of the JWT has passed; check the agent that renews the file of auth.jwt.jwtFile',
  jwt_near_expiry: 'the JWT has less life left than auth.jwt.minRemainingTtl; check the agent that renews its file',
} as const satisfies Partial<Record<ErrorClass, string>>;

/**
 * @param bytes  as read from the file; surrounding white space is dropped
 * @param nowUnixMs  wall clock
 * @throws ProviderError `jwt_malformed`, then one of the claim classes in the order of the checks (spec/login 1.1)
 */
export function checkJwt(bytes: Buffer, rules: JwtRules, nowUnixMs: number): CheckedJwt {
  const claims = parseJwt(bytes);
  const leewayMs = rules.clockSkewLeewayMs;
  const hasBegun = (beginsMs: number | undefined) => beginsMs === undefined || nowUnixMs + leewayMs >= beginsMs;
  demand(hasBegun(claims.nbfMs), 'jwt_not_yet_valid');
  demand(hasBegun(claims.iatMs), 'jwt_issued_in_future');
  checkIdentity(claims, rules);
  demand(nowUnixMs - leewayMs < claims.expMs, 'jwt_expired'); // control: jwt.leeway
  demand(claims.expMs - nowUnixMs > rules.minRemainingTtlMs, 'jwt_near_expiry'); // control: jwt.near-expiry
  return { text: claims.text, expiresAtUnixMs: claims.expMs };
}

/**
 * The span in which `checkJwt` accepts this JWT, Unix milliseconds, the end not included.
 *
 * @throws ProviderError `jwt_malformed`, or the class of a claim that no time mends
 */
export function jwtSpan(bytes: Buffer, rules: JwtRules): { readonly fromUnixMs: number; readonly untilUnixMs: number } {
  const claims = parseJwt(bytes);
  checkIdentity(claims, rules);
  const beginMs = Math.max(claims.nbfMs ?? 0, claims.iatMs ?? 0);
  return {
    fromUnixMs: beginMs - rules.clockSkewLeewayMs,
    untilUnixMs: Math.min(claims.expMs + rules.clockSkewLeewayMs, claims.expMs - rules.minRemainingTtlMs),
  };
}

function checkIdentity(claims: Claims, { expectedIssuer, expectedAudience, expectedSubject }: JwtRules): void {
  demand(expectedIssuer === '' || claims.iss === expectedIssuer, 'jwt_issuer_mismatch');
  const isAudience = expectedAudience.length === 0 || expectedAudience.some((value) => claims.aud.includes(value));
  demand(isAudience, 'jwt_audience_mismatch');
  demand(expectedSubject === '' || claims.sub === expectedSubject, 'jwt_subject_mismatch');
}

function demand(holds: boolean, errorClass: keyof typeof sentences): void {
  if (!holds) throw new ProviderError(errorClass, sentences[errorClass]);
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
  const text = bytes.length > maxJwtBytes ? '' : bytes.toString('utf8').trim();
  const parts = text.split('.');
  const [head = '', payload = '', signature = ''] = parts;
  const isFormed = parts.length === 3 && head !== '' && payload !== '' && signature !== '' && !/\s/u.test(text);
  if (!isFormed) throw malformed('does not have three parts');
  const header = parsePart(head);
  const isSigned = typeof header['alg'] === 'string' && header['alg'].toLowerCase() !== 'none'; // control: jwt.signed
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
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw malformed('is not a JSON object');
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
  return new ProviderError(
    'jwt_malformed',
    `malformed JWT: it ${what}; check what writes the file of auth.jwt.jwtFile`,
  );
}
