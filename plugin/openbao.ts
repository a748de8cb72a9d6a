// The way to OpenBao as the plugin keeps it: the session with its pools and credentials, the tokens that it earns, and the
// Transit calls made with them.

import type { CredentialMessage, PluginMessage } from '../shared/channel/messages.ts';
import type { Config } from '../shared/config/config.ts';
import type { Clock } from '../shared/time/clock.ts';
import { createAuthorizedSend, type RequestEvent } from './auth/authorized.ts';
import { isTokenAlive, type LoginOptions, renewToken } from './auth/login.ts';
import type { LoginMethod } from './auth/methods/method.ts';
import { createLoginMethod } from './auth/methods/table.ts';
import { type TokenEvent, Tokens } from './auth/tokens.ts';
import { createTrust } from './http/tls.ts';
import { findRights, type RightFinding, rightPaths } from './keys/rights.ts';
import type { SendAuthorized } from './openbao/authorized.ts';
import { createHttp } from './openbao/client.ts';
import { type Pools, Session } from './session/session.ts';
import { readCapabilities } from './transit/read-capabilities.ts';
import { createTransit, type Transit } from './transit/transit.ts';

export type OpenBaoDeps = {
  readonly config: Config;
  readonly version: string;
  readonly clock: Clock;
  readonly random: () => number;
  readonly send: (message: PluginMessage) => void;
  readonly recordRequest: (event: RequestEvent) => void;
  readonly recordToken: (event: TokenEvent) => void;
  readonly stopped: AbortSignal;
};

const transitConnections = 32;
const loginConnections = 2;

export class OpenBao {
  readonly tokens: Tokens;
  readonly session: Session;
  readonly transit: Transit;
  readonly #deps: OpenBaoDeps;
  readonly #loginOptions: LoginOptions;
  readonly #method: LoginMethod;
  readonly #send: SendAuthorized;

  constructor(deps: OpenBaoDeps) {
    this.#deps = deps;
    const { transitMountPath, transitKeyName } = deps.config.identity;
    this.#loginOptions = loginOptions(deps.config);
    const { clock, config } = deps;
    this.#method = createLoginMethod({ auth: config.auth, options: this.#loginOptions, wallMs: clock.wallMs });
    this.session = this.#createSession();
    this.tokens = this.#createTokens();
    this.#send = this.#createSend();
    this.transit = createTransit(transitMountPath, transitKeyName, this.#send);
  }

  /** Takes a generation of a credential. Never throws. */
  credential = (message: CredentialMessage): void => this.session.offer(message);

  /** What is wrong with the rights of our token; throws what the question throws. */
  readRights = async (signal?: AbortSignal): Promise<readonly RightFinding[]> => {
    const { transitMountPath, transitKeyName } = this.#deps.config.identity;
    const capabilities = await readCapabilities(this.#send, rightPaths(transitMountPath, transitKeyName), signal);
    return findRights(transitMountPath, transitKeyName, capabilities);
  };

  close = async (): Promise<void> => {
    this.tokens.stop();
    await this.session.close();
  };

  #createSession(): Session {
    const { config, clock, random, send, stopped } = this.#deps;
    return new Session({
      clock,
      random,
      method: this.#method,
      openPools: (ca) => openPools(this.#deps, ca),
      // The tokens come after the session that logs in for them.
      loginNow: () => this.tokens.loginNow(),
      hasToken: () => this.tokens.hasToken(),
      timeoutMs: config.auth.loginTimeoutMs,
      send,
      stopped,
    });
  }

  #createTokens(): Tokens {
    const { config, clock, random, recordToken } = this.#deps;
    const { session } = this;
    const { loginTimeoutMs } = config.auth;
    const { timeoutMs } = config.openbao;
    const options = { ...this.#loginOptions, refusals: this.#method.refusals };
    return new Tokens({
      clock,
      random,
      login: session.login,
      renew: (token, signal) =>
        renewToken(session.pools().login, options, token, { timeoutMs: loginTimeoutMs, signal }),
      isAlive: (token, signal) => isTokenAlive(session.pools().login, token, { timeoutMs, signal }).catch(() => true),
      settings: config.auth,
      record: recordToken,
    });
  }

  #createSend(): SendAuthorized {
    const { config, clock, recordRequest } = this.#deps;
    const { session } = this;
    return createAuthorizedSend({
      http: () => session.pools().transit,
      tokens: this.tokens,
      timeoutMs: config.openbao.timeoutMs,
      nowMs: clock.nowMs,
      record: (event) => {
        session.used(event.error);
        recordRequest(event);
      },
    });
  }
}

function loginOptions({ auth, identity }: Config): LoginOptions {
  return {
    loginBeforeTokenExpiryMs: auth.loginBeforeTokenExpiryMs,
    tokenRenewalIncrementMs: auth.tokenRenewalIncrementMs,
    encryptPath: `${identity.transitMountPath}/encrypt/${identity.transitKeyName}`,
  };
}

function openPools({ config, version, clock, random }: OpenBaoDeps, ca: Buffer): Pools {
  const trust = createTrust({ ca, tlsServerName: config.openbao.tlsServerName });
  const open = (connections: number) =>
    createHttp({
      address: config.openbao.address,
      namespace: config.identity.openbaoNamespace,
      userAgent: `bao-kms-provider/${version}`,
      trust,
      clock,
      random,
      connections,
    });
  const trustEndsAtUnixMs = trust.endsAtUnixMs;
  return { login: open(loginConnections), transit: open(transitConnections), trustEndsAtUnixMs };
}
