// The JWT before it is sent: form and claims in their order, and the span in which it can be sent.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { checkJwt, type JwtRules, jwtSpan } from '../../../../../plugin/auth/methods/jwt-claims.ts';
import type { ErrorClass } from '../../../../../shared/errors/error.ts';
import { throwsClass } from '../../../../support/throws.ts';

const nowMs = 1_750_000_000_000;
const now = nowMs / 1000;
const rules: JwtRules = {
  minRemainingTtlMs: 120_000,
  clockSkewLeewayMs: 30_000,
  expectedIssuer: 'https://issuer',
  expectedAudience: ['kms'],
  expectedSubject: 'me',
};

function jwt(claims: Record<string, unknown> = {}, header: Record<string, unknown> = { alg: 'ES256' }): Buffer {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const payload = {
    iss: 'https://issuer',
    aud: ['kms', 'x'],
    sub: 'me',
    iat: now,
    nbf: now,
    exp: now + 3600,
    ...claims,
  };
  return Buffer.from(`${part(header)}.${part(payload)}.c2ln\n`);
}

test('a good JWT passes, trimmed, with its end', () => {
  const checked = checkJwt(jwt(), rules, nowMs);

  assert.is(checked.expiresAtUnixMs, (now + 3600) * 1000);
  assert.not.ok(checked.text.endsWith('\n'));
});

test('a padded payload and a single string audience are tolerated', () => {
  const padded = Buffer.from(
    jwt({ aud: 'kms' })
      .toString()
      .replace(/\.c2ln/u, '=.c2ln')
      .replace(/([^.=]*)=\./u, (_, p: string) => `${p}${'='.repeat((4 - (p.length % 4)) % 4)}.`),
  );
  checkJwt(jwt({ aud: 'kms' }), rules, nowMs);
  checkJwt(padded, rules, nowMs);
});

const claimFaults: readonly (readonly [string, Record<string, unknown>, ErrorClass])[] = [
  ['nbf 31 s ahead', { nbf: now + 31 }, 'jwt_not_yet_valid'],
  ['iat 31 s ahead', { iat: now + 31 }, 'jwt_issued_in_future'],
  ['another issuer', { iss: 'https://issuer/' }, 'jwt_issuer_mismatch'],
  ['another audience', { aud: ['other'] }, 'jwt_audience_mismatch'],
  ['no audience', { aud: undefined }, 'jwt_audience_mismatch'],
  ['another subject', { sub: 'Me' }, 'jwt_subject_mismatch'],
  ['exp 30 s ago', { exp: now - 30 }, 'jwt_expired'],
  ['exp in 120 s', { exp: now + 120 }, 'jwt_near_expiry'],
  ['exp a fraction above the minimum', { exp: now + 120.9 }, 'jwt_near_expiry'],
  ['nbf a fraction above the leeway', { nbf: now + 30.1 }, 'jwt_not_yet_valid'],
  ['iat a fraction above the leeway', { iat: now + 30.000001 }, 'jwt_issued_in_future'],
  ['a negative nbf', { nbf: -1 }, 'jwt_malformed'],
  ['no exp', { exp: undefined }, 'jwt_malformed'],
  ['null as exp', { exp: null }, 'jwt_malformed'],
  ['a text as exp', { exp: '1' }, 'jwt_malformed'],
  ['a number as aud', { aud: 1 }, 'jwt_malformed'],
  // Order: the first fault of several wins.
  [
    'everything wrong at once',
    { nbf: now + 99, iat: now + 99, iss: 'x', aud: 'x', sub: 'x', exp: 1 },
    'jwt_not_yet_valid',
  ],
  ['issuer and expiry wrong', { iss: 'x', exp: 1 }, 'jwt_issuer_mismatch'],
];

for (const [what, claims, errorClass] of claimFaults) {
  test(`a JWT with ${what}: ${errorClass}, without any claim in the message`, () => {
    const error = throwsClass(() => checkJwt(jwt(claims), rules, nowMs), errorClass);

    assert.not.match(error.message, /issuer\b.*https|kms|Me\b/u);
  });
}

for (const [what, claims] of [
  ['nbf 30 s ahead', { nbf: now + 30 }],
  ['iat 30 s ahead', { iat: now + 30 }],
  ['exp in 121 s', { exp: now + 121 }],
  ['null as nbf', { nbf: null }],
  ['fractions in all times', { iat: now - 0.5, nbf: now + 29.5, exp: now + 121.5 }],
] as const) {
  test(`a JWT with ${what} passes`, () => {
    checkJwt(jwt(claims), rules, nowMs);
  });
}

for (const [what, bytes] of [
  ['two parts', Buffer.from('a.b')],
  ['an empty signature', Buffer.from(jwt().toString().replace('c2ln', '').trim())],
  ['white space inside', Buffer.from('a. b.c')],
  ['alg none', jwt({}, { alg: 'none' })],
  ['no alg', jwt({}, {})],
  [
    'a payload that is no object',
    Buffer.from(`${Buffer.from('{"alg":"x"}').toString('base64url')}.${Buffer.from('[]').toString('base64url')}.c2ln`),
  ],
  ['nothing', Buffer.from(' \n')],
  ['more than 1 MiB', Buffer.alloc(1024 * 1024 + 1, 0x61)],
] as const) {
  test(`a JWT with ${what} is malformed`, () => {
    throwsClass(() => checkJwt(bytes, rules, nowMs), 'jwt_malformed');
  });
}

test('the span of a JWT is where it passes: from nbf and iat less the leeway to what must be left', () => {
  const bytes = jwt({ nbf: now + 100, iat: now + 200 });
  const { fromUnixMs, untilUnixMs } = jwtSpan(bytes, rules);

  assert.is(fromUnixMs, nowMs + 170_000);
  assert.is(untilUnixMs, nowMs + 3_480_000);
  throwsClass(() => checkJwt(bytes, rules, fromUnixMs - 1), 'jwt_issued_in_future');
  checkJwt(bytes, rules, fromUnixMs);
  checkJwt(bytes, rules, untilUnixMs - 1);
  throwsClass(() => checkJwt(bytes, rules, untilUnixMs), 'jwt_near_expiry');
});

test('a claim that no time mends has no span', () => {
  throwsClass(() => jwtSpan(jwt({ nbf: now + 100, aud: 'other' }), rules), 'jwt_audience_mismatch');
});

/** Claims in a spelling of their own, which JSON.stringify would change. */
const spelled = (times: string) => {
  const payload = `{${times},"iss":"https://issuer","aud":"kms","sub":"me"}`;
  return Buffer.from(
    jwt()
      .toString()
      .replace(/\.[^.]+\./u, `.${Buffer.from(payload).toString('base64url')}.`),
  );
};

for (const exp of [
  '2e9',
  '2.0e9',
  '2E+9',
  '-1',
  '-0',
  '-0.5',
  '1e999',
  '9007199254740992',
  '9007199254740992.5',
  '"1"',
]) {
  test(`exp spelled ${exp} is malformed`, () => {
    throwsClass(() => checkJwt(spelled(`"exp":${exp}`), rules, nowMs), 'jwt_malformed');
  });
}

test('a fraction is rounded by its spelling, against the holder: exp down, nbf and iat up', () => {
  const nearlyNext = `${now + 3600}.${'9'.repeat(40)}`;
  const hardlyMore = `${now + 30}.${'0'.repeat(40)}1`;

  assert.is(checkJwt(spelled(`"exp":${nearlyNext}`), rules, nowMs).expiresAtUnixMs, (now + 3600) * 1000);
  checkJwt(spelled(`"exp":${nearlyNext},"nbf":${now + 30}.000,"iat":${now + 30}.0`), rules, nowMs);
  throwsClass(() => checkJwt(spelled(`"exp":${nearlyNext},"nbf":${hardlyMore}`), rules, nowMs), 'jwt_not_yet_valid');
  throwsClass(() => checkJwt(spelled(`"exp":${nearlyNext},"iat":${hardlyMore}`), rules, nowMs), 'jwt_issued_in_future');
});

test('a header that says alg none in any case of letters is malformed', () => {
  throwsClass(() => checkJwt(jwt({}, { alg: 'NoNe' }), rules, nowMs), 'jwt_malformed');
});

test('a JWT of more than 1 MiB is malformed, whatever it says', () => {
  checkJwt(jwt({ filler: 'x'.repeat(700_000) }), rules, nowMs);
  throwsClass(() => checkJwt(jwt({ filler: 'x'.repeat(800_000) }), rules, nowMs), 'jwt_malformed');
});

test('an end that has passed within the leeway is near, one beyond it has passed', () => {
  throwsClass(() => checkJwt(jwt({ exp: now - 29 }), rules, nowMs), 'jwt_near_expiry');
  throwsClass(() => checkJwt(jwt({ exp: now - 30 }), rules, nowMs), 'jwt_expired');
});

test.run();
