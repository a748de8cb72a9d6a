// The way to OpenBao as the plugin keeps it: the session with its pools and credentials, the tokens that it earns, and the
// Transit calls made with them.

import type { CredentialMessage, PluginMessage } from '../shared/channel/messages.ts';
import type { Config } from '../shared/config/config.ts';
import type { Clock } from '../shared/time/clock.ts';
import { createAuthorizedSend, type RequestEvent } from './auth/authorized.ts';
import { isTokenAlive, loginWithJwt, renewToken } from './auth/login.ts';
import { type TokenEvent, Tokens } from './auth/tokens.ts';
import { createTrust } from './http/tls.ts';
import { findRights, type RightFinding, rightPaths } from './keys/rights.ts';
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
  readonly observeRequest: (event: RequestEvent) => void;
  readonly observeToken: (event: TokenEvent) => void;
  readonly stopped: AbortSignal;
};

export type OpenBao = {
  readonly transit: Transit;
  /** What is wrong with the rights of our token; throws what the question throws. */
  readonly readRights: (signal?: AbortSignal) => Promise<readonly RightFinding[]>;
  readonly tokens: Tokens;
  readonly session: Session;
  /** Takes a generation of a credential. Never throws. */
  readonly credential: (message: CredentialMessage) => void;
  readonly close: () => Promise<void>;
};

const transitConnections = 32;
const loginConnections = 2;

export function createOpenBao(deps: OpenBaoDeps): OpenBao {
  const { config, clock } = deps;
  const loginOptions = {
    mountPath: config.auth.jwt.mountPath,
    role: config.auth.jwt.role,
    loginBeforeTokenExpiryMs: config.auth.loginBeforeTokenExpiryMs,
    tokenRenewalIncrementMs: config.auth.tokenRenewalIncrementMs,
    clockSkewLeewayMs: config.auth.jwt.clockSkewLeewayMs,
    encryptPath: `${config.identity.transitMountPath}/encrypt/${config.identity.transitKeyName}`,
    wallMs: clock.wallMs,
  };
  const loginTimeoutMs = config.auth.loginTimeoutMs;
  const timeoutMs = config.openbao.timeoutMs;
  const session: Session = new Session({
    clock,
    random: deps.random,
    jwtRules: config.auth.jwt,
    openPools: (ca) => openPools(deps, ca),
    loginWithJwt: (http, jwt, signal) => loginWithJwt(http, loginOptions, jwt, { timeoutMs: loginTimeoutMs, signal }),
    loginNow: () => tokens.loginNow(),
    hasToken: () => tokens.hasToken(),
    handshakeTimeoutMs: loginTimeoutMs,
    send: deps.send,
    stopped: deps.stopped,
  });
  const tokens: Tokens = new Tokens({
    clock,
    random: deps.random,
    login: session.login,
    renew: (token, signal) =>
      renewToken(session.pools().login, loginOptions, token, { timeoutMs: loginTimeoutMs, signal }),
    isAlive: (token, signal) => isTokenAlive(session.pools().login, token, { timeoutMs, signal }).catch(() => true),
    settings: config.auth,
    observe: deps.observeToken,
  });
  const send = createAuthorizedSend({
    http: () => session.pools().transit,
    tokens,
    timeoutMs,
    nowMs: clock.nowMs,
    observe: (event) => {
      session.used(event.error);
      deps.observeRequest(event);
    },
  });
  const { transitMountPath, transitKeyName } = config.identity;
  return {
    transit: createTransit(transitMountPath, transitKeyName, send),
    readRights: async (signal) => {
      const capabilities = await readCapabilities(send, rightPaths(transitMountPath, transitKeyName), signal);
      return findRights(transitMountPath, transitKeyName, capabilities);
    },
    tokens,
    session,
    credential: session.offer,
    close: async () => {
      tokens.stop();
      await session.close();
    },
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
  return { login: open(loginConnections), transit: open(transitConnections) };
}
