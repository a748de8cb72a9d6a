// Login and renewal at OpenBao, and what makes their answer a grant (auth 3.5, 6). The token never leaves this process.

import { ProviderError } from '../../shared/errors/error.ts';
import type { Http } from '../transit/http.ts';
import { operations } from '../transit/operations.ts';
import { isObject, isPlainDenial, readReply } from '../transit/response.ts';

/** What OpenBao granted. `token` is undefined when a renewal keeps the present one. */
export type Grant = {
  readonly token: string | undefined;
  readonly leaseMs: number;
  readonly isRenewable: boolean;
};

export type LoginOptions = {
  readonly mountPath: string;
  readonly role: string;
  /** A lease that is not longer than this is no grant. */
  readonly loginBeforeTokenExpiryMs: number;
  readonly tokenRenewalIncrementMs: number;
};

type Sent = { readonly timeoutMs: number; readonly signal: AbortSignal };

/**
 * @throws ProviderError `auth_rejected` when OpenBao refuses the login or grants what we cannot use; transport classes
 *   when OpenBao is away
 */
export async function loginWithJwt(http: Http, options: LoginOptions, jwt: string, sent: Sent): Promise<Grant> {
  const operation = operations.jwtLogin;
  const path = `${options.mountPath}/login`;
  const reply = await http.send({ operation, path, body: { role: options.role, jwt }, ...sent });
  try {
    const grant = readGrant(readReply(operation, reply).auth, options);
    if (grant.token === undefined) throw rejected('the answer holds no token');
    return grant;
  } catch (error) {
    throw asRejection(error);
  }
}

/**
 * @throws ProviderError `auth_rejected` also for a server error: a renewal that fails is followed by a login
 * @see openbao-api 3.4: a renewal may be 204 or 500 although OpenBao is well
 */
export async function renewToken(http: Http, options: LoginOptions, token: string, sent: Sent): Promise<Grant> {
  const operation = operations.renewSelf;
  const increment = `${Math.max(1, Math.ceil(options.tokenRenewalIncrementMs / 1000))}s`;
  const reply = await http.send({ operation, path: 'auth/token/renew-self', token, body: { increment }, ...sent });
  try {
    return readGrant(readReply(operation, reply).auth, options);
  } catch (error) {
    throw asRejection(error);
  }
}

/**
 * Asks with the token itself whether OpenBao still knows it. A plain "permission denied" means that it does not; the same
 * text in the wrapped form means that a policy said no to a living token (openbao-api 1.8).
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

function readGrant(auth: unknown, options: LoginOptions): Grant {
  if (!isObject(auth)) throw rejected('the answer holds no grant');
  const { client_token: token, lease_duration: leaseSeconds, renewable, num_uses: uses } = auth;
  if (typeof leaseSeconds !== 'number' || !(leaseSeconds > 0)) throw rejected('the lease is empty');
  if (typeof uses === 'number' && uses !== 0) throw rejected('the role limits the uses of its tokens');
  const leaseMs = leaseSeconds * 1000;
  if (leaseMs <= options.loginBeforeTokenExpiryMs) {
    throw rejected('the lease is not longer than auth.loginBeforeTokenExpiry; raise token_ttl of the role');
  }
  const isToken = typeof token === 'string' && token !== '' && /^[\x21-\x7e]{1,8192}$/u.test(token);
  return { token: isToken ? token : undefined, leaseMs, isRenewable: renewable === true };
}

/** 400, 401, 403 and 404 of a login are refusals of our credential; outages keep their class. */
function asRejection(error: unknown): unknown {
  const refused = [
    'bao_invalid_request',
    'bao_unauthenticated',
    'bao_permission_denied',
    'bao_not_found',
    'bao_unknown',
  ];
  const isRefused = error instanceof ProviderError && refused.includes(error.class);
  return isRefused
    ? new ProviderError('auth_rejected', 'auth failed: OpenBao refused the login', { facts: error.facts })
    : error;
}

function rejected(what: string): ProviderError {
  return new ProviderError('auth_rejected', `auth failed: ${what}`);
}
