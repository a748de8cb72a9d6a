// Why a login was refused: OpenBao's exact texts and our own checks, each with the detail that it must get. The texts were
// taken from the sources of OpenBao v2.6.2 that stand beside them, and seen on a real server.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { loginWithJwt } from '../../../../../plugin/auth/methods/jwt.ts';
import type { HttpCall } from '../../../../../plugin/openbao/client.ts';
import { loginHints } from '../../../../../shared/errors/hints.ts';
import {
  causeOfLogin,
  error,
  nowUnixMs,
  options,
  type Played,
  play,
  sent,
  wrapped,
} from '../../../../support/played-login.ts';

const token = 'error validating token: ';
const refused = 'auth_rejected';
const texts: readonly (readonly [source: string, answer: Played, errorClass: string, detail: string])[] = [
  ['jwt/path_login.go pathLogin', error(400, 'could not load configuration'), refused, 'mount_not_configured'],
  ['jwt/path_login.go getRole…', error(400, 'role "kms" could not be found'), refused, 'role_not_found'],
  ['jwt/path_login.go pathLogin', error(400, 'role with oidc role_type is not allowed'), refused, 'role_type_oidc'],
  ['cap jwt.go validateAll', error(400, `${token}invalid issuer (iss) claim`), refused, 'issuer'],
  ['cap jwt.go validateAll', error(400, `${token}invalid subject (sub) claim`), refused, 'subject'],
  [
    'cap jwt.go validateAudience',
    error(400, `${token}invalid audience (aud) claim: audience claim does not match any expected audience`),
    refused,
    'audience',
  ],
  [
    'jwt/path_login.go pathLogin',
    error(400, 'audience claim found in JWT but no audiences bound to the role'),
    refused,
    'audience',
  ],
  [
    'cap keyset.go',
    error(400, `${token}error verifying token signature: no known key successfully validated the token signature`),
    refused,
    'signature',
  ],
  [
    'cap keyset.go',
    error(400, `${token}error verifying token signature: failed to verify id token signature`),
    refused,
    'signature',
  ],
  [
    'cap jwt.go validateSigningAlgorithm',
    error(400, `${token}invalid algorithm (alg) header parameter: token signed with unexpected algorithm`),
    refused,
    'signature',
  ],
  [
    'cap jwt.go validateAll',
    error(400, `${token}invalid not before (nbf) claim: token not yet valid`),
    refused,
    'not_yet_valid',
  ],
  [
    'cap jwt.go validateAll',
    error(400, `${token}invalid issued at (iat) claim: token issued in the future`),
    refused,
    'not_yet_valid',
  ],
  [
    'cap jwt.go validateAll',
    error(400, `${token}invalid expiration time (exp) claim: token is expired`),
    refused,
    'expired',
  ],
  [
    'cap jwt.go validateAll',
    error(400, `${token}no issued at (iat), not before (nbf), or expiration time (exp) claims in token`),
    refused,
    'claim',
  ],
  [
    'go-jose jwt/claims.go',
    error(400, `${token}go-jose/go-jose/jwt: expected number value to unmarshal NumericDate`),
    refused,
    'claim',
  ],
  ['jwt/path_login.go createIdentity', error(400, 'claim "user" not found in token'), refused, 'claim'],
  ['jwt/path_login.go createIdentity', error(400, 'claim "user" could not be converted to string'), refused, 'claim'],
  [
    'jwt/claims.go validateBoundClaims',
    error(400, 'error validating claims: claim "env" is missing'),
    refused,
    'claim',
  ],
  ['jwt/claims.go extractMetadata', error(400, "error converting claim 'env' to string"), refused, 'claim'],
  [
    'jwt/path_login.go createIdentity',
    error(400, 'failed to fetch groups: "groups" claim not found in token'),
    refused,
    'claim',
  ],
  [
    'jwt/path_login.go createIdentity',
    error(400, 'value 3 in groups claim could not be parsed as string'),
    refused,
    'claim',
  ],
  ['vault/request_handling.go handleLoginRequest', error(500, 'missing name in alias'), refused, 'claim'],
  [
    'vault/request_handling.go LoginCreateToken',
    error(400, 'auth methods cannot create root tokens'),
    refused,
    'no_policy',
  ],
  ['vault/request_handling.go', error(404, 'namespace not found'), refused, 'namespace_not_found'],
  [
    'vault/routing/router.go',
    error(404, 'no handler for route "auth/jwt/login". route entry not found.'),
    refused,
    'mount_not_found',
  ],
  ['sdk framework/backend.go', wrapped(404, 'unsupported path'), refused, 'mount_not_found'],
  ['approle/path_login.go', error(500, 'missing role_id'), refused, 'mount_not_found'],
  ['cert/path_login.go', error(400, 'no client certificate found'), refused, 'mount_not_found'],
  ['kubernetes/path_login.go', error(400, 'invalid role name "kms"'), refused, 'mount_not_found'],
  ['unknown', error(400, 'a text of another version'), refused, 'other'],
  ['unknown', error(403, 'a text of a proxy'), refused, 'other'],
  // Nothing was said of our credential: what was learned before ages instead of ending.
  [
    'http/util.go rateLimitQuotaWrapping',
    error(429, 'request path "auth/jwt/login": rate limit quota exceeded'),
    'rate_limited',
    'rate_limited',
  ],
  [
    'vault/request_handling.go',
    error(
      503,
      'API access to this namespace has been locked by an administrator - "ns1/" must be unlocked to gain access.',
    ),
    'unavailable',
    'locked',
  ],
  [
    'cap keyset.go',
    error(400, `${token}error verifying token signature: fetching keys oidc: get keys failed: Get "https://x": EOF`),
    'unavailable',
    'issuer_unreachable',
  ],
  [
    'jwt/path_login.go pathLogin',
    error(400, 'error configuring token validator: keyset configuration error: EOF'),
    'unavailable',
    'issuer_unreachable',
  ],
];

for (const [source, answer, errorClass, detail] of texts) {
  const [first = ''] = (answer.body as { errors: string[] }).errors;
  test(`${source}: ${answer.status} "${first.trim()}" is ${errorClass} with detail ${detail}`, async () => {
    const cause = await causeOfLogin(() => answer);

    assert.equal(
      { class: cause.class, detail: cause.detail, httpStatus: cause.httpStatus },
      { class: errorClass, detail, httpStatus: answer.status },
    );
    assert.is(cause.message, loginHints[detail as keyof typeof loginHints]);
  });
}

test('an outage has no detail and keeps its class', async () => {
  const sealed = await causeOfLogin(() => error(503, 'Vault is sealed'));
  const broken = await causeOfLogin(() => error(500, 'internal error'));

  assert.equal([sealed.class, sealed.detail], ['sealed', undefined]);
  assert.equal([broken.class, broken.detail], ['unavailable', undefined]);
});

test('a text of OpenBao, and what a claim or a role is called, goes no further', async () => {
  for (const text of ['role "canary" could not be found', 'claim "canary" not found in token', 'canary']) {
    const cause = await causeOfLogin(() => error(400, text));

    assert.not.match(JSON.stringify(cause), /canary/u);
  }
});

const hasJwt = ({ body }: HttpCall) => typeof body === 'object' && body !== null && 'jwt' in body;

test('"permission denied" where a login without a JWT misses the JWT is about addresses', async () => {
  const cause = await causeOfLogin((call) =>
    hasJwt(call) ? error(403, 'permission denied') : error(400, 'missing token'),
  );

  assert.is(cause.detail, 'cidr');
});

test('"permission denied" also to a login without a JWT is a mount that is not there', async () => {
  const cause = await causeOfLogin(() => error(403, 'permission denied'));

  assert.is(cause.detail, 'mount_not_found');
});

test('no answer to the second question names neither', async () => {
  const cause = await causeOfLogin((call) => {
    if (hasJwt(call)) return error(403, 'permission denied');
    throw new Error('away');
  });

  assert.is(cause.detail, 'other');
});

test('the second question is asked after a bare denial only', async () => {
  const { http, calls } = play(() => error(400, 'role "kms" could not be found'));
  await loginWithJwt(http, options, 'a.b.c', sent).catch(() => {});

  assert.is(calls.length, 1);
});

const notYet = `${token}invalid not before (nbf) claim: token not yet valid`;
for (const [what, awayMs, detail] of [
  ['at the leeway', 30_000, 'not_yet_valid'],
  ['one second over the leeway', 31_000, 'clock'],
  ['one second over the leeway behind', -31_000, 'clock'],
] as const) {
  test(`a refusal about time with clocks apart ${what} has detail ${detail}`, async () => {
    const cause = await causeOfLogin(() => ({ ...error(400, notYet), dateMs: nowUnixMs + awayMs }));

    assert.is(cause.detail, detail);
  });
}

test('clocks that are apart do not explain a refusal that is not about time', async () => {
  const cause = await causeOfLogin(() => ({ ...error(400, `${token}invalid issuer (iss) claim`), dateMs: 0 }));

  assert.is(cause.detail, 'issuer');
});

test.run();
