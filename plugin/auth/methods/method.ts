// The port of a login method: one way to get an OpenBao token. Its credentials arrive from custody; a method never opens a path, and
// keeps none of them. Which generation is in use, and in which order they are tried, the session decides for every method alike.

import type { Config } from '../../../shared/config/config.ts';
import type { LoginMethodName, loginCredentials } from '../../../shared/config/login-methods.ts';
import type { ErrorClass } from '../../../shared/errors/error.ts';
import type { Http } from '../../openbao/client.ts';
import type { Grant, LoginOptions, Sent } from '../login.ts';
import type { RefusalRule } from '../refusal.ts';

/** The bytes of one generation of each credential of a method. */
export type Credentials<Name extends LoginMethodName = LoginMethodName> = Readonly<
  Record<(typeof loginCredentials)[Name][number], Buffer>
>;

/** When credentials can be sent, Unix milliseconds, the end not included; and the class of what is sent before or after. */
export type Validity = {
  readonly fromUnixMs: number;
  readonly untilUnixMs: number;
  readonly early: ErrorClass;
  readonly over: ErrorClass;
};

/** What metrics tell of the method and of the credentials in use; a life left is 0 when there is no such credential. */
export type LoginFacts = {
  readonly method: LoginMethodName;
  readonly jwtTtlMs: number;
  readonly certificateTtlMs: number;
};

export type LoginMethod<Name extends LoginMethodName = LoginMethodName> = {
  readonly name: Name;
  /** What it needs, by custody name. */
  readonly credentials: (typeof loginCredentials)[Name];
  /** Credentials in use that end within twice this time make newer ones urgent, milliseconds. */
  readonly refreshWindowMs: number;
  /** What OpenBao answers to its logins and renewals, beside what it answers to everybody. */
  readonly refusals: readonly RefusalRule[];
  /** Looks at credentials without asking anybody. @throws ProviderError its class when no time makes them usable */
  readonly offer: (credentials: Credentials<Name>) => Validity;
  /** Why no login can be tried with them at this moment; undefined: they are not there. */
  readonly whyUnusable: (credentials: Credentials<Name> | undefined) => unknown;
  /** @throws ProviderError its class when they are not usable at this moment; what `requestLogin` throws */
  readonly login: (http: Http, credentials: Credentials<Name>, sent: Sent) => Promise<Grant>;
  readonly facts: (inUse: Validity | undefined) => LoginFacts;
};

export type LoginMethodDeps = {
  readonly auth: Config['auth'];
  readonly options: LoginOptions;
  readonly wallMs: () => number;
};
