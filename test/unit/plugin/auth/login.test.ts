// What makes the answer to a login a grant, and what a renewal that fails is told as.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { renewToken } from '../../../../plugin/auth/login.ts';
import { loginWithJwt } from '../../../../plugin/auth/methods/jwt.ts';
import { jwtRefusals } from '../../../../plugin/auth/methods/jwt-refusals.ts';
import type { HttpCall } from '../../../../plugin/openbao/client.ts';
import { type Cause, causeOf } from '../../../../shared/errors/cause.ts';
import { errorChain } from '../../../../shared/errors/error.ts';
import {
  causeOfLogin,
  encryptPath,
  error,
  grant,
  options,
  type Played,
  play,
  sent,
  wrapped,
} from '../../../support/played-login.ts';

for (const [what, auth, detail] of [
  ['a lease as long as the window', { lease_duration: 300 }, 'lease_too_short'],
  ['no lease', { lease_duration: 0 }, 'lease_too_short'],
  ['limited uses', { num_uses: 5 }, 'uses_limited'],
  ['no token, because a second factor is demanded', { client_token: '', mfa_requirement: {} }, 'other'],
] as const) {
  test(`a grant with ${what} is auth_rejected with detail ${detail}`, async () => {
    const cause = await causeOfLogin(() => grant(auth));

    assert.equal([cause.class, cause.detail], ['auth_rejected', detail]);
  });
}

/** Answers the login with these policies, and the question about the key with these rights. */
const withPolicies =
  (policies: readonly string[] | null, rights: Played) =>
  ({ path }: HttpCall): Played =>
    path === 'sys/capabilities-self' ? rights : grant({ policies });
const rights = (...capabilities: string[]): Played => ({
  status: 200,
  body: { data: { [encryptPath]: capabilities } },
});

for (const [what, policies, answer] of [
  ['no policy', [], wrapped(403, 'permission denied')],
  ['the list of policies null', null, wrapped(403, 'permission denied')],
  ['only the policy default', ['default'], rights('deny')],
] as const) {
  test(`a token with ${what} that may not encrypt is refused with detail no_policy`, async () => {
    const cause = await causeOfLogin(withPolicies(policies, answer));

    assert.equal([cause.class, cause.detail], ['auth_rejected', 'no_policy']);
  });
}

test('a token whose policy default was given the rights is taken', async () => {
  const { http } = play(withPolicies(['default'], rights('update')));

  assert.is((await loginWithJwt(http, options, 'a.b.c', sent)).token, 's.token');
});

test('a token with only the policy default is taken when OpenBao does not say what it may', async () => {
  const { http } = play(withPolicies(['default'], error(500)));

  assert.is((await loginWithJwt(http, options, 'a.b.c', sent)).token, 's.token');
});

test('a token with a policy of its own is taken without a question, a batch token too', async () => {
  const { http, calls } = play(() => grant({ token_type: 'batch', renewable: false, accessor: '' }));
  const taken = await loginWithJwt(http, options, 'a.b.c', sent);

  assert.equal([taken.token, taken.isRenewable, calls.length], ['s.token', false, 1]);
});

async function causeOfRenewal(answer: Played): Promise<Cause & { readonly message: string }> {
  try {
    await renewToken(play(() => answer).http, { ...options, refusals: jwtRefusals }, 's.token', sent);
  } catch (thrown) {
    return { ...causeOf(thrown), message: errorChain(thrown)[0]?.message ?? '' };
  }
  throw new Error('the token was renewed');
}

test('a renewal near the end of the token does not blame the role', async () => {
  const cause = await causeOfRenewal(grant({ lease_duration: 120 }));

  assert.is(cause.detail, 'lease_too_short');
  assert.match(cause.message, /a login follows/u);
});

test('a renewal under a role that is gone says so, although OpenBao answers 500', async () => {
  const gone = 'failed to renew entry: role kms does not exist during renewal';
  const cause = await causeOfRenewal(wrapped(500, gone));

  assert.equal([cause.class, cause.detail, cause.httpStatus], ['auth_rejected', 'role_not_found', 500]);
});

test('a renewal of a token that OpenBao does not know any more is followed by a login and says so', async () => {
  const cause = await causeOfRenewal(error(403, 'permission denied'));

  assert.equal([cause.class, cause.detail], ['auth_rejected', 'other']);
  assert.match(cause.message, /a login follows/u);
});

test.run();
