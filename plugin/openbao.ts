// The way to OpenBao as the plugin keeps it: two pools (login and Transit) over one trust, the token manager and the Transit
// calls. A changed CA or JWT is proven before the old one is let go.

import type { CredentialMessage, PluginMessage } from '../shared/channel/messages.ts';
import type { Config } from '../shared/config/config.ts';
import { errorClassOf, ProviderError } from '../shared/errors/error.ts';
import { policyOf } from '../shared/errors/policy.ts';
import type { Clock } from '../shared/time/clock.ts';
import { createAuthorizedSend, type RequestEvent } from './auth/authorized.ts';
import { JwtSource } from './auth/jwt-source.ts';
import { isTokenAlive, loginWithJwt, renewToken } from './auth/login.ts';
import { createTokenManager, type TokenEvent, type TokenManager } from './auth/token-manager.ts';
import { findRights, type RightFinding, rightPaths } from './keys/rights.ts';
import { createHttp, type Http } from './transit/http.ts';
import { readCapabilities } from './transit/read-capabilities.ts';
import { createTrust } from './transit/tls.ts';
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
  readonly tokens: TokenManager;
  readonly jwt: JwtSource;
  readonly caGeneration: () => number;
  /**
   * Takes what was in custody at the start.
   *
   * @throws ProviderError `ca_invalid`: without a usable CA there is no way to OpenBao
   */
  readonly firstCredential: (message: CredentialMessage) => Promise<void>;
  /** Takes a generation of `jwt` or `openbao_ca`; other names are ignored. Never throws. */
  readonly credential: (message: CredentialMessage) => Promise<void>;
  readonly close: () => Promise<void>;
};

type Pools = { readonly login: Http; readonly transit: Http };

const transitConnections = 32;
const loginConnections = 2;
/** At most one proof of a name in this time, also after one without an answer, milliseconds (auth 9). */
const proofSpacingMs = 5_000;

export function createOpenBao(deps: OpenBaoDeps): OpenBao {
  const { config, clock } = deps;
  const jwt = new JwtSource(config.auth.jwt, clock.wallMs);
  let pools: Pools | undefined;
  let caGeneration = 0;
  let newestCa = 0;
  const lastProofAtMs = new Map<CredentialMessage['name'], number>();
  /** Waits until another proof of this name may begin. */
  const mayProve = async (name: CredentialMessage['name']): Promise<void> => {
    const waitMs = (lastProofAtMs.get(name) ?? Number.NEGATIVE_INFINITY) + proofSpacingMs - clock.nowMs();
    if (waitMs > 0) await new Promise<void>((resolve) => clock.after(waitMs, resolve));
  };

  const poolsInUse = () => {
    if (pools === undefined)
      throw new ProviderError('ca_invalid', 'no CA certificate for OpenBao; check openbao.caCertFile');
    return pools;
  };
  const loginOptions = {
    mountPath: config.auth.jwt.mountPath,
    role: config.auth.jwt.role,
    loginBeforeTokenExpiryMs: config.auth.loginBeforeTokenExpiryMs,
    tokenRenewalIncrementMs: config.auth.tokenRenewalIncrementMs,
  };
  const tokens = createTokenManager({
    clock,
    random: deps.random,
    login: (signal) => login(signal),
    renew: (token, signal) =>
      renewToken(poolsInUse().login, loginOptions, token, { timeoutMs: config.auth.loginTimeoutMs, signal }),
    isAlive: (token, signal) =>
      isTokenAlive(poolsInUse().login, token, { timeoutMs: config.openbao.timeoutMs, signal }).catch(() => true),
    settings: config.auth,
    observe: deps.observeToken,
  });
  const login = async (signal: AbortSignal) => {
    const { text } = jwt.take();
    try {
      const sent = { timeoutMs: config.auth.loginTimeoutMs, signal };
      const grant = await loginWithJwt(poolsInUse().login, loginOptions, text, sent);
      const generation = jwt.loggedIn();
      if (generation !== undefined) tell('jwt', generation, 'in_use');
      return grant;
    } catch (error) {
      const refused = errorClassOf(error) === 'auth_rejected' ? jwt.refused() : undefined;
      if (refused !== undefined) tell('jwt', refused, 'refused', 'auth_rejected');
      throw error;
    }
  };
  const { transitMountPath, transitKeyName } = config.identity;
  const sendOver = (http: () => Http) => {
    const options = { http, tokens, timeoutMs: config.openbao.timeoutMs, nowMs: clock.nowMs };
    return createAuthorizedSend({ ...options, observe: deps.observeRequest });
  };
  const transitOver = (http: () => Http) => createTransit(transitMountPath, transitKeyName, sendOver(http));
  const readRights = async (signal?: AbortSignal) => {
    const paths = rightPaths(transitMountPath, transitKeyName);
    const capabilities = await readCapabilities(
      sendOver(() => poolsInUse().transit),
      paths,
      signal,
    );
    return findRights(transitMountPath, transitKeyName, capabilities);
  };
  const tell = (name: CredentialMessage['name'], generation: number, result: 'in_use' | 'refused', cause?: string) =>
    deps.send({
      kind: 'credential_result',
      name,
      generation,
      result,
      ...(cause === undefined ? {} : { class: cause }),
    });

  const takeCa = async (generation: number, bytes: Buffer): Promise<void> => {
    newestCa = generation;
    const trust = createTrust({ ca: bytes, tlsServerName: config.openbao.tlsServerName });
    const open = (connections: number) =>
      createHttp({
        address: config.openbao.address,
        namespace: config.identity.openbaoNamespace,
        userAgent: `bao-kms-provider/${deps.version}`,
        trust,
        clock,
        connections,
      });
    const next: Pools = { login: open(loginConnections), transit: open(transitConnections) };
    const before = pools;
    if (before !== undefined) {
      const isProven = await prove(next, () => newestCa === generation);
      if (!isProven) return void Promise.all([next.login.close(), next.transit.close()]);
    }
    pools = next;
    caGeneration = generation;
    tell('openbao_ca', generation, 'in_use');
    if (before !== undefined) void Promise.all([before.login.close(), before.transit.close()]);
  };
  /** Make before break: a read over the new pool must succeed. No answer proves nothing and is tried again. */
  const prove = async (next: Pools, isNewest: () => boolean): Promise<boolean> => {
    const transit = transitOver(() => next.transit);
    for (;;) {
      await mayProve('openbao_ca');
      if (!isNewest() || deps.stopped.aborted) return false;
      lastProofAtMs.set('openbao_ca', clock.nowMs());
      try {
        await transit.readUpsertDisabled(deps.stopped);
        return true;
      } catch (error) {
        if (policyOf(error).evidence === 'wrong_answer') throw error;
      }
    }
  };
  const takeJwt = async (generation: number, bytes: Buffer): Promise<void> => {
    const isFirst = jwt.generationInUse === 0;
    jwt.offer(generation, bytes);
    if (isFirst) return;
    for (;;) {
      await mayProve('jwt');
      if (jwt.unprovenGeneration !== generation || deps.stopped.aborted) return;
      lastProofAtMs.set('jwt', clock.nowMs());
      try {
        await tokens.credentialChanged();
        return;
      } catch (error) {
        if (policyOf(error).evidence === 'wrong_answer') return;
      }
    }
  };
  const credential = async (message: CredentialMessage): Promise<void> => {
    if (message.bytes === undefined) return;
    const bytes = Buffer.from(message.bytes, 'base64');
    try {
      if (message.name === 'jwt') await takeJwt(message.generation, bytes);
      if (message.name === 'openbao_ca') await takeCa(message.generation, bytes);
    } catch (error) {
      tell(message.name, message.generation, 'refused', errorClassOf(error));
    }
  };
  const firstCredential = async (message: CredentialMessage): Promise<void> => {
    const bytes = Buffer.from(message.bytes ?? '', 'base64');
    if (message.bytes !== undefined && message.name === 'openbao_ca') return takeCa(message.generation, bytes);
    return credential(message);
  };
  return {
    firstCredential,
    transit: transitOver(() => poolsInUse().transit),
    readRights,
    tokens,
    jwt,
    caGeneration: () => caGeneration,
    credential,
    close: async () => {
      tokens.stop();
      if (pools !== undefined) await Promise.all([pools.login.close(), pools.transit.close()]);
    },
  };
}
