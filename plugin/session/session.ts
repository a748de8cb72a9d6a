// The session with OpenBao: the pools and credentials in use, and the newest on trial beside them. Performs what the machine of
// trials.ts decides; chooses nothing itself. A credential that works is never touched by one that has not proven itself.

import type { CredentialMessage, PluginMessage } from '../../shared/channel/messages.ts';
import { causeOf } from '../../shared/errors/cause.ts';
import { errorClassOf, ProviderError } from '../../shared/errors/error.ts';
import type { Cancel, Clock } from '../../shared/time/clock.ts';
import { checkJwt, type JwtRules } from '../auth/jwt.ts';
import type { Grant } from '../auth/login.ts';
import type { Http } from '../openbao/client.ts';
import { localOfJwt, timelessCa, unusableCa } from './local.ts';
import { type AttemptEnd, loginSteps } from './login-steps.ts';
import {
  decide,
  type Effect,
  type Event,
  firstState,
  type Local,
  type Outcome,
  type State,
  standingOf,
  type TrialName,
  trialNames,
} from './trials.ts';

/** Two pools over one trust. */
export type Pools = { readonly login: Http; readonly transit: Http };

export type SessionDeps = {
  readonly clock: Clock;
  readonly random: () => number;
  readonly jwtRules: JwtRules;
  /** @throws ProviderError `ca_invalid` */
  readonly openPools: (ca: Buffer) => Pools;
  readonly loginWithJwt: (http: Http, jwt: string, signal: AbortSignal) => Promise<Grant>;
  /** Logs in now as a trial, whatever the back-off of logins says; ends when the login has. Never throws. */
  readonly loginNow: () => Promise<void>;
  readonly hasToken: () => boolean;
  readonly handshakeTimeoutMs: number;
  readonly send: (message: PluginMessage) => void;
  readonly stopped: AbortSignal;
};

/** A newer generation that is not in use, and what was last said against it. */
export type CandidateWarning = {
  readonly name: TrialName;
  readonly state: 'refused' | 'waiting';
  readonly class: string;
  readonly detail?: string;
  /** Since it lies on disk. */
  readonly waitingMs: number;
};

const noJwt =
  'no JWT is there: the file of auth.jwt.jwtFile is missing or was refused; see credential.refused in the log';

type Held = { readonly bytes: Buffer; readonly local: Local; readonly pools?: Pools };

export class Session {
  readonly #deps: SessionDeps;
  readonly #held: Record<TrialName, Map<number, Held>> = { openbao_ca: new Map(), jwt: new Map() };
  /** A login may prove a generation that a newer file has overtaken meanwhile, so nothing is let go while one runs. */
  #isLoggingIn = false;
  #state: State = firstState;
  /** Why the newest CA that was offered is none. */
  #caFault: unknown;
  #cancelTimer: Cancel = () => {};

  constructor(deps: SessionDeps) {
    this.#deps = deps;
  }

  /** @throws ProviderError `ca_invalid` while there is no usable CA at all */
  pools = (): Pools => {
    const { inUse } = this.#state.names.openbao_ca;
    const pools = inUse && this.#held.openbao_ca.get(inUse.generation)?.pools;
    if (pools !== undefined) return pools;
    if (this.#caFault !== undefined) throw this.#caFault;
    throw new ProviderError('ca_invalid', 'no CA certificate for OpenBao; check openbao.caCertFile');
  };

  generations = (): Readonly<Record<TrialName, number>> => {
    const { openbao_ca: ca, jwt } = this.#state.names;
    return { openbao_ca: ca.inUse?.generation ?? 0, jwt: jwt.inUse?.generation ?? 0 };
  };

  /** Life left of the JWT in use, milliseconds; 0 while none is. */
  jwtTtlMs = (): number => {
    const local = this.#state.names.jwt.inUse?.local;
    if (local?.kind !== 'timed') return 0;
    return Math.max(0, local.untilUnixMs + this.#deps.jwtRules.minRemainingTtlMs - this.#deps.clock.wallMs());
  };

  /** Whether the JWT in use has so little life left that no login would be tried with it. */
  isJwtEnding = (): boolean => {
    const { inUse } = this.#state.names.jwt;
    return inUse !== undefined && standingOf(inUse.local, this.#deps.clock.wallMs()) !== 'usable';
  };

  /** Candidates that something was said against; one that is being tried for the first time is no warning. */
  warnings = (): readonly CandidateWarning[] =>
    trialNames.flatMap((name): CandidateWarning[] => {
      const { candidate } = this.#state.names[name];
      if (candidate?.told === undefined) return [];
      const { kind, cause } = candidate.told.outcome;
      const waitingMs = this.#deps.clock.nowMs() - candidate.offeredAtMs;
      const detail = cause.detail === undefined ? {} : { detail: cause.detail };
      return [{ name, state: kind === 'refused' ? 'refused' : 'waiting', class: cause.class, ...detail, waitingMs }];
    });

  /** Takes a generation of `jwt` or `openbao_ca`; other names and absent files change nothing. Never throws. */
  offer = (message: CredentialMessage): void => {
    const { name, generation } = message;
    if (message.bytes === undefined || (name !== 'jwt' && name !== 'openbao_ca')) return;
    const bytes = Buffer.from(message.bytes, 'base64');
    const { inUse } = this.#state.names[name];
    const before = inUse && this.#held[name].get(inUse.generation);
    const isSame = before?.bytes.equals(bytes) === true;
    const { local, pools } = name === 'jwt' ? this.#readJwt(bytes) : this.#readCa(bytes);
    this.#held[name].set(generation, { bytes, local, ...(pools === undefined ? {} : { pools }) });
    this.#event({ kind: 'offered', name, generation, local, isSame });
  };

  /**
   * One login with what the machine allows, in its order.
   *
   * @param isTrial  the candidate is to be proven, although what is in use may be well
   * @throws ProviderError the class of the first attempt that failed, or why nothing could be tried
   */
  login = async (signal: AbortSignal, isTrial: boolean): Promise<Grant> => {
    this.#isLoggingIn = true;
    try {
      return await this.#logIn(signal, isTrial);
    } finally {
      this.#isLoggingIn = false;
      this.#letGo();
    }
  };

  async #logIn(signal: AbortSignal, isTrial: boolean): Promise<Grant> {
    const { clock, hasToken } = this.#deps;
    const steps = loginSteps({ state: () => this.#state, wallMs: clock.wallMs(), hasToken: hasToken(), isTrial });
    let first: unknown;
    let grant: Grant | undefined;
    for (let step = steps.next(); ; ) {
      if (step.done === true) {
        if (grant !== undefined) return grant;
        throw step.value.kind === 'nothing_usable' ? this.#unusable(step.value.generation) : first;
      }
      if (step.value.kind === 'tried') {
        this.#tried(step.value.name, step.value.generation, step.value.outcome);
        step = steps.next();
        continue;
      }
      const { openbaoCa, jwt } = step.value.attempt;
      try {
        grant = await this.#attempt(openbaoCa, jwt, signal);
        step = steps.next({ kind: 'granted' });
      } catch (error) {
        first ??= error;
        step = steps.next(endOf(error));
      }
    }
  }

  /** Ordinary requests are evidence about the CA in use. */
  used = (error?: unknown): void => {
    const { inUse } = this.#state.names.openbao_ca;
    if (inUse === undefined) return;
    const isTlsFault = error !== undefined && errorClassOf(error) === 'bao_tls_failed';
    const isKnown = isTlsFault === inUse.isBroken;
    if (isKnown || (error !== undefined && !isTlsFault)) return;
    const outcome = isTlsFault ? ({ kind: 'refused', cause: causeOf(error) } as const) : ({ kind: 'good' } as const);
    this.#tried('openbao_ca', inUse.generation, outcome);
  };

  close = async (): Promise<void> => {
    this.#cancelTimer();
    const all = [...this.#held.openbao_ca.values()].flatMap(({ pools }) => (pools === undefined ? [] : [pools]));
    await Promise.all(all.map(closePools));
  };

  #readJwt(bytes: Buffer): { readonly local: Local; readonly pools?: Pools } {
    return { local: localOfJwt(bytes, this.#deps.jwtRules) };
  }

  #readCa(bytes: Buffer): { readonly local: Local; readonly pools?: Pools } {
    this.#caFault = undefined;
    try {
      return { local: timelessCa, pools: this.#deps.openPools(bytes) };
    } catch (error) {
      this.#caFault = error;
      return { local: unusableCa };
    }
  }

  #tried(name: TrialName, generation: number, outcome: Outcome): void {
    const local = this.#held[name].get(generation)?.local;
    if (local !== undefined) this.#event({ kind: 'tried', name, generation, local, outcome });
  }

  async #attempt(openbaoCa: number, jwt: number, signal: AbortSignal): Promise<Grant> {
    const pools = this.#held.openbao_ca.get(openbaoCa)?.pools;
    const held = this.#held.jwt.get(jwt);
    if (pools === undefined || held === undefined) throw new ProviderError('internal', 'a generation that is not held');
    const { text } = checkJwt(held.bytes, this.#deps.jwtRules, this.#deps.clock.wallMs());
    return this.#deps.loginWithJwt(pools.login, text, signal);
  }

  #unusable(generation: number | undefined): unknown {
    const held = generation === undefined ? undefined : this.#held.jwt.get(generation);
    const none = new ProviderError('jwt_unavailable', noJwt);
    if (held === undefined) return none;
    try {
      checkJwt(held.bytes, this.#deps.jwtRules, this.#deps.clock.wallMs());
      return none;
    } catch (error) {
      return error;
    }
  }

  #event(event: Event): void {
    const { clock, random, hasToken, jwtRules } = this.#deps;
    const rules = { refreshWindowMs: { openbao_ca: 0, jwt: jwtRules.minRemainingTtlMs } };
    const now = { nowMs: clock.nowMs(), wallMs: clock.wallMs(), hasToken: hasToken(), random: random() };
    const { state, effects } = decide(rules, this.#state, event, now);
    this.#state = state;
    this.#letGo();
    for (const effect of effects) this.#perform(effect);
  }

  #perform(effect: Effect): void {
    switch (effect.kind) {
      case 'try':
        return void this.#try(effect);
      case 'adopt':
        return;
      case 'tell':
        return this.#tell(effect);
      case 'arm': {
        this.#cancelTimer();
        if (this.#deps.stopped.aborted) return;
        this.#cancelTimer = this.#deps.clock.after(effect.afterMs, () => this.#event({ kind: 'tick' }));
      }
    }
  }

  async #try({ name, generation }: Extract<Effect, { kind: 'try' }>): Promise<void> {
    // What begins here may end at once; the step that began it has to be over first.
    await Promise.resolve();
    if (name === 'jwt') await this.#deps.loginNow();
    else if (generation !== undefined) await this.#tryHandshake(generation);
    if (!this.#deps.stopped.aborted) this.#event({ kind: 'trial_ended' });
  }

  async #tryHandshake(generation: number): Promise<void> {
    const pools = this.#held.openbao_ca.get(generation)?.pools;
    const { handshakeTimeoutMs: timeoutMs, stopped: signal } = this.#deps;
    const tried = (outcome: Outcome) => this.#tried('openbao_ca', generation, outcome);
    try {
      await pools?.login.handshake({ timeoutMs, signal });
      tried({ kind: 'good' });
    } catch (error) {
      if (signal.aborted) return;
      const isRefused = errorClassOf(error) === 'bao_tls_failed';
      tried({ kind: isRefused ? 'refused' : 'unproven', cause: causeOf(error) });
    }
  }

  #tell({ name, generation, outcome, nextTryMs }: Extract<Effect, { kind: 'tell' }>): void {
    if (outcome.kind === 'good') {
      return this.#deps.send({ kind: 'credential_result', name, generation, result: 'in_use' });
    }
    const { class: errorClass, detail } = outcome.cause;
    this.#deps.send({
      kind: 'credential_result',
      name,
      generation,
      result: outcome.kind,
      class: errorClass,
      ...(detail === undefined ? {} : { detail }),
      // A claim may lie further ahead than a message can say.
      ...(nextTryMs === undefined
        ? {}
        : { nextTryMs: Math.min(Number.MAX_SAFE_INTEGER, Math.max(0, Math.round(nextTryMs))) }),
    });
  }

  /** What is neither in use nor on trial nor the candidate is not held any longer. */
  #letGo(): void {
    if (this.#isLoggingIn) return;
    const { names, trial } = this.#state;
    for (const name of ['openbao_ca', 'jwt'] as const) {
      const { inUse, candidate } = names[name];
      const kept = [inUse?.generation, candidate?.generation, trial?.name === name ? trial.generation : undefined];
      for (const [generation, { bytes, pools }] of this.#held[name]) {
        if (kept.includes(generation)) continue;
        this.#held[name].delete(generation);
        bytes.fill(0);
        if (pools !== undefined) void closePools(pools);
      }
    }
  }
}

async function closePools({ login, transit }: Pools): Promise<void> {
  await Promise.all([login.close(), transit.close()]);
}

function endOf(error: unknown): AttemptEnd {
  const errorClass = errorClassOf(error);
  const cause = causeOf(error);
  if (errorClass === 'bao_tls_failed') return { kind: 'tls_failed', cause };
  const isRefused = errorClass === 'auth_rejected' || errorClass.startsWith('jwt_');
  return { kind: isRefused ? 'refused' : 'no_answer', cause };
}
