// Login and renewal at OpenBao, and what makes their answer a grant (spec/login 2.1). The token never leaves this process.

import type { LoginDetail } from '../../shared/errors/cause.ts';
import { ProviderError } from '../../shared/errors/error.ts';
import type { Http, HttpCall, HttpReply } from '../openbao/client.ts';
import { operations } from '../openbao/operations.ts';
import { type BaoBody, isObject, isPlainDenial, readReply } from '../openbao/response.ts';
import { mayEncrypt } from './questions.ts';
import { detailOf, type RefusalRule, refusalOf, rejected } from './refusal.ts';

/** What OpenBao granted. `token` is undefined when a renewal keeps the present one. */
export type Grant = {
  readonly token: string | undefined;
  readonly leaseMs: number;
  readonly isRenewable: boolean;
};

/** What holds for every method. */
export type LoginOptions = {
  /** A lease that is not longer than this is no grant. */
  readonly loginBeforeTokenExpiryMs: number;
  readonly tokenRenewalIncrementMs: number;
  /** Of the configured key; what a token without any policy of its own is asked about. */
  readonly encryptPath: string;
};

/** Bounds of one request. */
export type Sent = { readonly timeoutMs: number; readonly signal: AbortSignal };

/** A login as its method makes it. */
export type LoginRequest = Pick<HttpCall, 'operation' | 'path' | 'body'> & {
  /** Why OpenBao refused it, where that can be told. */
  readonly explain: (reply: HttpReply) => Promise<LoginDetail | undefined>;
};

/**
 * @throws ProviderError `auth_rejected` when OpenBao refuses the login or grants what we cannot use, with the fact `detail`;
 *   transport classes when OpenBao is away
 */
export async function requestLogin(
  http: Http,
  options: LoginOptions,
  { explain, ...request }: LoginRequest,
  sent: Sent,
): Promise<Grant> {
  const reply = await http.send({ ...request, ...sent });
  const { auth } = await readAnswer(request.operation, reply, explain);
  const grant = readGrant(auth, options);
  if (grant.token === undefined) throw rejected('other', {}, 'the answer of OpenBao to the login holds no token');
  if (hasNoPolicy(auth) && !(await mayEncrypt(http, options, grant.token, sent))) throw rejected('no_policy');
  return grant;
}

/** @throws ProviderError with the fact `detail` where the cause has a name */
async function readAnswer(
  operation: HttpCall['operation'],
  reply: HttpReply,
  explain: LoginRequest['explain'],
): Promise<BaoBody> {
  try {
    return readReply(operation, reply);
  } catch (error) {
    throw error instanceof ProviderError ? refusalOf(error, await explain(reply)) : error;
  }
}

/**
 * @throws ProviderError `auth_rejected` also for a server error: a renewal that fails is followed by a login
 * @see spec/openbao 2.5: a renewal may be 204 or 500 although OpenBao is well
 */
export async function renewToken(
  http: Http,
  options: LoginOptions & { readonly refusals: readonly RefusalRule[] },
  token: string,
  sent: Sent,
): Promise<Grant> {
  const operation = operations.renewSelf;
  const increment = `${Math.max(1, Math.ceil(options.tokenRenewalIncrementMs / 1000))}s`;
  const reply = await http.send({ operation, path: 'auth/token/renew-self', token, body: { increment }, ...sent });
  try {
    return readGrant(readReply(operation, reply).auth, options, 'renewal');
  } catch (error) {
    const isRejected = error instanceof ProviderError && error.class === 'auth_rejected';
    if (isRejected || !(error instanceof ProviderError)) throw error;
    throw refusalOf(error, detailOf(reply, options.refusals), 'OpenBao did not renew the token; a login follows');
  }
}

/**
 * Asks with the token itself whether OpenBao still knows it. A plain "permission denied" means that it does not; the same
 * text in the wrapped form means that a policy said no to a living token (spec/openbao 3.1).
 *
 * @returns true also when there was no answer: an outage proves nothing against a token
 */
export async function isTokenAlive(http: Http, token: string, sent: Sent): Promise<boolean> {
  const body = { paths: ['sys/capabilities-self'] };
  try {
    const operation = operations.capabilitiesSelf;
    const reply = await http.send({ operation, path: 'sys/capabilities-self', token, body, ...sent });
    return reply.status !== 401 && !(reply.status === 403 && isPlainDenial(reply));
  } catch {
    return true;
  }
}

/** Whether the token has no policy but the one that every token may have; a list that is not there says nothing. */
function hasNoPolicy(auth: unknown): boolean {
  const policies = isObject(auth) ? auth['policies'] : undefined;
  return policies === null || (Array.isArray(policies) && policies.every((name) => name === 'default'));
}

/** At the end of every token's life a renewal gets less than asked for: no fault of the role. */
const nearsItsEnd =
  'the renewed token would not live longer than auth.loginBeforeTokenExpiry, because it nears token_max_ttl of the role; a login follows';

function readGrant(auth: unknown, options: LoginOptions, kind: 'login' | 'renewal' = 'login'): Grant {
  if (!isObject(auth)) throw rejected('other', {}, 'the answer of OpenBao holds no grant');
  const { client_token: token, lease_duration: leaseSeconds, renewable, num_uses: uses } = auth;
  if (typeof uses === 'number' && uses !== 0) throw rejected('uses_limited'); // control: login.uses
  const leaseMs = typeof leaseSeconds === 'number' ? leaseSeconds * 1000 : 0;
  // control: login.lease
  if (!(leaseMs > options.loginBeforeTokenExpiryMs)) {
    throw rejected('lease_too_short', {}, kind === 'renewal' ? nearsItsEnd : undefined);
  }
  const isToken = typeof token === 'string' && token !== '' && /^[\x21-\x7e]{1,8192}$/u.test(token);
  return { token: isToken ? token : undefined, leaseMs, isRenewable: renewable === true };
}
