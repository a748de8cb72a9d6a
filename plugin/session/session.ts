// The session with OpenBao: the pools and credentials in use, and the newest on trial beside them. Performs what the machine of
// trials.ts decides; chooses nothing itself. A credential that works is never touched by one that has not proven itself.

import type { CredentialMessage, CredentialName, PluginMessage } from '../../shared/channel/messages.ts';
import { causeOf } from '../../shared/errors/cause.ts';
import { errorClassOf, ProviderError } from '../../shared/errors/error.ts';
import { policyOf } from '../../shared/errors/policy.ts';
import type { Cancel, Clock } from '../../shared/time/clock.ts';
import type { Grant } from '../auth/login.ts';
import type { Credentials, LoginFacts, LoginMethod, Validity } from '../auth/methods/method.ts';
import type { Http } from '../openbao/client.ts';
import { localOfValidity, timelessCa, unusableCa } from './local.ts';
import { type Attempt, type AttemptEnd, loginSteps } from './login-steps.ts';
import { hasSameBytes, NewestParts, newIn, numberOf, type Parts } from './parts.ts';
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
export type Pools = {
  readonly login: Http;
  readonly transit: Http;
  /** When the first certificate of the trust ends. */
  readonly trustEndsAtUnixMs: number;
};

export type SessionDeps = {
  readonly clock: Clock;
  readonly random: () => number;
  readonly method: LoginMethod;
  /** @throws ProviderError `ca_invalid` */
  readonly openPools: (ca: Buffer) => Pools;
  /** Logs in now as a trial, whatever the back-off of logins says; ends when the login has. Never throws. */
  readonly loginNow: () => Promise<void>;
  readonly hasToken: () => boolean;
  /** Bounds one login, and one handshake. */
  readonly timeoutMs: number;
  readonly send: (message: PluginMessage) => void;
  readonly stopped: AbortSignal;
};

/** A newer generation that is not in use, and what was last said against it. */
export type CandidateWarning = {
  readonly name: CredentialName;
  readonly state: 'refused' | 'waiting';
  readonly class: string;
  readonly detail?: string;
  /** Since it lies on disk. */
  readonly waitingMs: number;
};

type Held = {
  readonly parts: Parts;
  readonly local: Local;
  /** Of a CA. */
  readonly pools?: Pools;
  /** Of what is logged in with. */
  readonly validity?: Validity;
};

export class Session {
  readonly #deps: SessionDeps;
  readonly #newest: Readonly<Record<TrialName, NewestParts>>;
  /** By the number of the parts. */
  readonly #held: Record<TrialName, Map<number, Held>> = { openbao_ca: new Map(), login: new Map() };
  /** What was last said to be in use. */
  readonly #toldInUse: Record<TrialName, Parts> = { openbao_ca: [], login: [] };
  /** A login may prove a generation that a newer file has overtaken meanwhile, so nothing is let go while one runs. */
  #isLoggingIn = false;
  #state: State = firstState;
  /** Why the newest CA that was offered is none. */
  #caFault: unknown;
  #cancelTimer: Cancel = () => {};

  constructor(deps: SessionDeps) {
    this.#deps = deps;
    this.#newest = {
      openbao_ca: new NewestParts(['openbao_ca']),
      login: new NewestParts(deps.method.credentials),
    };
  }

  /** @throws ProviderError `ca_invalid` while there is no usable CA at all */
  pools = (): Pools => {
    const pools = this.#inUse('openbao_ca')?.pools;
    if (pools !== undefined) return pools;
    if (this.#caFault !== undefined) throw this.#caFault;
    throw new ProviderError('ca_invalid', 'no CA certificate for OpenBao; check openbao.caCertFile');
  };

  /** In use, of the CA and of each credential of the login method; 0: none. */
  generations = (): Readonly<Partial<Record<CredentialName, number>>> => {
    const names = ['openbao_ca', ...this.#deps.method.credentials] as const;
    const inUse = trialNames.flatMap((name) => this.#inUse(name)?.parts ?? []);
    return Object.fromEntries(names.map((name) => [name, inUse.find((part) => part.name === name)?.generation ?? 0]));
  };

  /** Life left of the trust in use, not below zero; 0 without one. */
  trustTtlMs = (): number => {
    const endsAtUnixMs = this.#inUse('openbao_ca')?.pools?.trustEndsAtUnixMs ?? 0;
    return Math.max(0, endsAtUnixMs - this.#deps.clock.wallMs());
  };

  facts = (): LoginFacts => this.#deps.method.facts(this.#inUse('login')?.validity);

  /** Whether what is logged in with has so little life left that no login would be tried with it. */
  isLoginEnding = (): boolean => {
    const { inUse } = this.#state.names.login;
    return inUse !== undefined && standingOf(inUse.local, this.#deps.clock.wallMs()) !== 'usable';
  };

  /** Candidates that something was said against; one that is being tried for the first time is no warning. */
  warnings = (): readonly CandidateWarning[] =>
    trialNames.flatMap((name): CandidateWarning[] => {
      const { candidate } = this.#state.names[name];
      if (candidate?.told === undefined) return [];
      const { kind, cause } = candidate.told.outcome;
      const waitingMs = this.#deps.clock.nowMs() - candidate.offeredAtMs;
      const state = kind === 'refused' ? 'refused' : 'waiting';
      const detail = cause.detail === undefined ? {} : { detail: cause.detail };
      const untaken = this.#untaken(name, candidate.generation);
      return untaken.map((part) => ({ name: part.name, state, class: cause.class, ...detail, waitingMs }));
    });

  /** Takes a generation of the CA or of a credential of the method; other names and absent files change nothing. Never throws. */
  offer = ({ name, generation, bytes }: CredentialMessage): void => {
    const credentials: readonly CredentialName[] = this.#deps.method.credentials;
    const trial = name === 'openbao_ca' ? name : credentials.includes(name) ? 'login' : undefined;
    if (bytes === undefined || trial === undefined) return;
    const parts = this.#newest[trial].take({ name, generation, bytes: Buffer.from(bytes, 'base64') });
    if (parts === undefined) return;
    const before = this.#inUse(trial);
    const isSame = before !== undefined && hasSameBytes(parts, before.parts);
    const held = trial === 'login' ? this.#readLogin(parts) : this.#readCa(parts);
    const number = numberOf(parts);
    this.#held[trial].set(number, held);
    this.#event({ kind: 'offered', name: trial, generation: number, local: held.local, isSame });
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
      try {
        grant = await this.#attempt(step.value.attempt, signal);
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

  #inUse(name: TrialName): Held | undefined {
    const { inUse } = this.#state.names[name];
    return inUse && this.#held[name].get(inUse.generation);
  }

  /** The parts of a candidate that are not in use. */
  #untaken(name: TrialName, number: number): Parts {
    return newIn(this.#held[name].get(number)?.parts ?? [], this.#inUse(name)?.parts ?? []);
  }

  #readLogin(parts: Parts): Held {
    try {
      const validity = this.#deps.method.offer(credentialsOf(parts));
      return { parts, local: localOfValidity(validity), validity };
    } catch (error) {
      return { parts, local: { kind: 'unusable', cause: causeOf(error) } };
    }
  }

  #readCa(parts: Parts): Held {
    this.#caFault = undefined;
    try {
      const [ca] = parts;
      return { parts, local: timelessCa, pools: this.#deps.openPools(ca?.bytes ?? Buffer.alloc(0)) };
    } catch (error) {
      this.#caFault = error;
      return { parts, local: unusableCa };
    }
  }

  #tried(name: TrialName, generation: number, outcome: Outcome): void {
    const local = this.#held[name].get(generation)?.local;
    if (local !== undefined) this.#event({ kind: 'tried', name, generation, local, outcome });
  }

  async #attempt({ openbaoCa, login }: Attempt, signal: AbortSignal): Promise<Grant> {
    const { method, timeoutMs } = this.#deps;
    const pools = this.#held.openbao_ca.get(openbaoCa)?.pools;
    const held = this.#held.login.get(login);
    if (pools === undefined || held === undefined) throw new ProviderError('internal', 'a generation that is not held');
    return method.login(pools.login, credentialsOf(held.parts), { timeoutMs, signal });
  }

  #unusable(number: number | undefined): unknown {
    const held = number === undefined ? undefined : this.#held.login.get(number);
    return this.#deps.method.whyUnusable(held && credentialsOf(held.parts));
  }

  #event(event: Event): void {
    const { clock, random, hasToken, method } = this.#deps;
    const rules = { refreshWindowMs: { openbao_ca: 0, login: method.refreshWindowMs } };
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
    if (name === 'login') await this.#deps.loginNow();
    else if (generation !== undefined) await this.#tryHandshake(generation);
    if (!this.#deps.stopped.aborted) this.#event({ kind: 'trial_ended' });
  }

  async #tryHandshake(generation: number): Promise<void> {
    const pools = this.#held.openbao_ca.get(generation)?.pools;
    const { timeoutMs, stopped: signal } = this.#deps;
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

  #tell({ name, generation: number, outcome, nextTryMs }: Extract<Effect, { kind: 'tell' }>): void {
    if (outcome.kind === 'good') return this.#tellInUse(name);
    const { class: errorClass, detail } = outcome.cause;
    const words = {
      result: outcome.kind,
      class: errorClass,
      ...(detail === undefined ? {} : { detail }),
      // A claim may lie further ahead than a message can say.
      ...(nextTryMs === undefined
        ? {}
        : { nextTryMs: Math.min(Number.MAX_SAFE_INTEGER, Math.max(0, Math.round(nextTryMs))) }),
    };
    for (const part of this.#untaken(name, number)) {
      this.#deps.send({ kind: 'credential_result', name: part.name, generation: part.generation, ...words });
    }
  }

  #tellInUse(trial: TrialName): void {
    const parts = this.#inUse(trial)?.parts ?? [];
    for (const { name, generation } of newIn(parts, this.#toldInUse[trial])) {
      this.#deps.send({ kind: 'credential_result', name, generation, result: 'in_use' });
    }
    this.#toldInUse[trial] = parts;
  }

  /** What is neither in use nor on trial nor the candidate is not held any longer. */
  #letGo(): void {
    if (this.#isLoggingIn) return;
    const { names, trial } = this.#state;
    for (const name of trialNames) {
      const { inUse, candidate } = names[name];
      const kept = [inUse?.generation, candidate?.generation, trial?.name === name ? trial.generation : undefined];
      for (const [number, { parts, pools }] of this.#held[name]) {
        if (kept.includes(number)) continue;
        this.#held[name].delete(number);
        this.#wipe(name, parts);
        if (pools !== undefined) void closePools(pools);
      }
    }
  }

  /** But for what other parts still have in common with them. */
  #wipe(name: TrialName, parts: Parts): void {
    const held = [...this.#held[name].values()].flatMap((one) => one.parts);
    for (const { bytes } of parts) {
      const isShared = this.#newest[name].has(bytes) || held.some((part) => part.bytes === bytes);
      if (!isShared) bytes.fill(0);
    }
  }
}

/** The parts are complete for the method: there are none before. */
function credentialsOf(parts: Parts): Credentials {
  return Object.fromEntries(parts.map(({ name, bytes }) => [name, bytes])) as Credentials;
}

async function closePools({ login, transit }: Pools): Promise<void> {
  await Promise.all([login.close(), transit.close()]);
}

function endOf(error: unknown): AttemptEnd {
  const errorClass = errorClassOf(error);
  const cause = causeOf(error);
  if (errorClass === 'bao_tls_failed') return { kind: 'tls_failed', cause };
  return { kind: policyOf(error).isCredentialRefused ? 'refused' : 'no_answer', cause };
}
