// Every login method, by the name that `auth.method` gives it. The names and their credentials are in shared/config/login-methods.ts;
// a name without a row, or a row that lacks a part of the port, does not compile.

import type { LoginMethodName } from '../../../shared/config/login-methods.ts';
import { createJwtLogin } from './jwt.ts';
import type { LoginMethod, LoginMethodDeps } from './method.ts';

export const loginMethods = {
  jwt: createJwtLogin,
} as const satisfies { readonly [Name in LoginMethodName]: (deps: LoginMethodDeps) => LoginMethod<Name> };

/** The method that the configuration chose. */
export function createLoginMethod(deps: LoginMethodDeps): LoginMethod {
  return loginMethods[deps.auth.method](deps);
}
