// Login with a JWT from a file: claims are looked at before it is sent, OpenBao verifies the signature (spec/login 1.1).

import { loginCredentials } from '../../../shared/config/login-methods.ts';
import { ProviderError } from '../../../shared/errors/error.ts';
import type { Http } from '../../openbao/client.ts';
import { loginOperations } from '../../openbao/operations.ts';
import { type Grant, type LoginOptions, requestLogin, type Sent } from '../login.ts';
import { checkJwt, jwtSpan } from './jwt-claims.ts';
import { explainRefusal, type JwtMount, jwtRefusals } from './jwt-refusals.ts';
import type { LoginMethod, LoginMethodDeps } from './method.ts';

const noJwt =
  'no JWT is there: the file of auth.jwt.jwtFile is missing or was refused; see credential.refused in the log';

export function createJwtLogin({ auth, options, wallMs }: LoginMethodDeps): LoginMethod<'jwt'> {
  const rules = auth.jwt;
  const { mountPath, role, clockSkewLeewayMs } = rules;
  const jwtOptions = { ...options, mountPath, role, clockSkewLeewayMs, wallMs };
  return {
    name: 'jwt',
    credentials: loginCredentials.jwt,
    refreshWindowMs: rules.minRemainingTtlMs,
    refusals: jwtRefusals,
    offer: ({ jwt }) => ({ ...jwtSpan(jwt, rules), early: 'jwt_not_yet_valid', over: 'jwt_near_expiry' }),
    whyUnusable: (credentials) => {
      try {
        if (credentials !== undefined) checkJwt(credentials.jwt, rules, wallMs());
        return new ProviderError('jwt_unavailable', noJwt);
      } catch (error) {
        return error;
      }
    },
    login: async (http, { jwt }, sent) => {
      const { text } = checkJwt(jwt, rules, wallMs());
      return loginWithJwt(http, jwtOptions, text, sent);
    },
    facts: (inUse) => ({
      method: 'jwt',
      // A JWT is no longer sent while it still has this much life left.
      jwtTtlMs: inUse === undefined ? 0 : Math.max(0, inUse.untilUnixMs + rules.minRemainingTtlMs - wallMs()),
      certificateTtlMs: 0,
    }),
  };
}

export type JwtLoginOptions = LoginOptions & JwtMount;

/** @throws what `requestLogin` throws */
export function loginWithJwt(http: Http, options: JwtLoginOptions, jwt: string, sent: Sent): Promise<Grant> {
  const request = {
    operation: loginOperations.jwt,
    path: `${options.mountPath}/login`,
    body: { role: options.role, jwt },
    explain: (reply: Parameters<typeof explainRefusal>[2]) => explainRefusal(http, options, reply, sent),
  };
  return requestLogin(http, options, request, sent);
}
