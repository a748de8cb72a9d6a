// The one owner of the OpenBao token: in memory, nowhere else. One refresh at a time, shared by all; renewed ahead of its
// end; a rejected token is never used again (spec/login 3.1).

import { ProviderError } from '../../shared/errors/error.ts';
import { type Age, startAge } from '../../shared/time/age.ts';
import { doublingDelayMs, jitterMs } from '../../shared/time/backoff.ts';
import type { Cancel, Clock } from '../../shared/time/clock.ts';
import { pause, untilAborted, withDeadline } from '../../shared/time/deadline.ts';
import type { Grant } from './login.ts';

export type TokensDeps = {
  readonly clock: Clock;
  /** 0 up to but not including 1. */
  readonly random: () => number;
  /** `isTrial`: a newer credential is to be proven; what is in use need not be tried. */
  readonly login: (signal: AbortSignal, isTrial: boolean) => Promise<Grant>;
  readonly renew: (token: string, signal: AbortSignal) => Promise<Grant>;
  /** Whether OpenBao still knows the token; true when it could not be asked. */
  readonly isAlive: (token: string, signal: AbortSignal) => Promise<boolean>;
  readonly settings: {
    readonly loginBeforeTokenExpiryMs: number;
    /** Bounds one refresh, a failed renewal and the login after it together. */
    readonly loginTimeoutMs: number;
  };
  readonly record: (event: TokenEvent) => void;
};

export type TokenEvent = { readonly kind: 'login' | 'renewal'; readonly durationMs: number; readonly error?: unknown };

export type TokenStatus = {
  readonly status: 'unknown' | 'authenticated' | 'unhealthy';
  readonly ttlMs: number;
  readonly consecutiveFailures: number;
};

type Held = { readonly value: string; readonly leaseMs: number; readonly age: Age; readonly isRenewable: boolean };
type Flight = { readonly done: Promise<void> };

const login = { baseMs: 1_000, capMs: 60_000, floorMs: 1_000 };
const recovery = { baseMs: 5_000, capMs: 300_000, quietMs: 600_000 };

export class Tokens {
  readonly #deps: TokensDeps;
  readonly #stopped = new AbortController();
  readonly #windowMs: number;
  #held: Held | undefined;
  #flight: Flight | undefined;
  #lastError: unknown;
  #failures = 0;
  #lastLoginAtMs = Number.NEGATIVE_INFINITY;
  #nextRetryAtMs = 0;
  #recoveryFailures = 0;
  #nextRecoveryAtMs = 0;
  #quietUntilMs = 0;
  #lifeSign: { readonly token: string; readonly askedAtMs: number; readonly isAlive: Promise<boolean> } | undefined;
  #cancelTimer: Cancel = () => {};

  constructor(deps: TokensDeps) {
    this.#deps = deps;
    // Spread over processes by up to 10 %, so that nodes started together do not log in together (spec/login 3.1).
    this.#windowMs = deps.settings.loginBeforeTokenExpiryMs * (1 - 0.1 * deps.random()); // control: token.refresh-jitter
  }

  /**
   * A token that is still good; waits for a login when there is none.
   *
   * @throws ProviderError the class of the failed login, `token_unavailable` while backing off, or the signal's reason
   */
  token = async (signal?: AbortSignal): Promise<string> => {
    for (;;) {
      if (signal?.aborted) throw signal.reason;
      const held = this.#usable();
      if (held !== undefined) {
        if (remainingMs(held) <= this.#windowMs && !this.#isBackingOff()) void this.#refresh('renewal');
        return held.value;
      }
      if (this.#flight === undefined && this.#isBackingOff()) throw this.#unavailable();
      await untilAborted((this.#flight ?? this.#refresh('login')).done, signal);
      if (this.#usable() === undefined && this.#flight === undefined) throw this.#unavailable();
    }
  };

  /**
   * Tells that OpenBao answered 401 or 403 to this token. A dead token is let go and replaced at once; a living one, which a
   * policy denied something, stays for other calls while a new login, at most as often as the recovery back-off allows,
   * tries for more rights (spec/login 3.3).
   *
   * @returns another token to try once more with, or undefined when the refusal stands
   */
  recover = async (rejected: string, signal?: AbortSignal): Promise<string | undefined> => {
    if (this.#held !== undefined && this.#held.value !== rejected) return this.token(signal); // control: token.rejected
    const isDead = this.#held === undefined || !(await this.#isAlive(rejected));
    if (isDead) {
      // Replaced at once; only failed logins have a back-off, and the floor holds. It says nothing about denials.
      this.#discard(rejected);
      return this.token(signal);
    }
    this.#openIncident();
    if (this.#flight === undefined) {
      if (this.#isRecoveryThrottled()) return undefined;
      this.#beginRecovery();
    }
    if (this.#flight !== undefined) await untilAborted(this.#flight.done, signal);
    const held = this.#usable();
    if (held === undefined) throw this.#unavailable();
    return held.value === rejected ? undefined : held.value;
  };

  /**
   * Logs in now, to try a newer credential or because there is no token, whatever the back-off says. While a token is alive
   * it stays in use until the login has succeeded, and a failure counts for nothing. Never throws.
   */
  loginNow = async (): Promise<void> => {
    while (this.#flight !== undefined) await this.#flight.done;
    if (!this.#stopped.signal.aborted) await this.#refresh('trial').done;
  };

  hasToken = (): boolean => this.#usable() !== undefined;

  status = (): TokenStatus => {
    const held = this.#usable();
    const isWell = held !== undefined && this.#lastError === undefined;
    const isUntried = held === undefined && this.#lastError === undefined;
    return {
      status: isWell ? 'authenticated' : isUntried ? 'unknown' : 'unhealthy',
      ttlMs: held === undefined ? 0 : remainingMs(held),
      consecutiveFailures: this.#failures,
    };
  };

  stop = (): void => {
    this.#cancelTimer();
    this.#stopped.abort(new ProviderError('canceled', 'the provider is stopping'));
  };

  #usable(): Held | undefined {
    return this.#held !== undefined && remainingMs(this.#held) > 0 ? this.#held : undefined;
  }

  #isBackingOff(): boolean {
    return this.#deps.clock.nowMs() < this.#nextRetryAtMs;
  }

  #isRecoveryThrottled(): boolean {
    return this.#deps.clock.nowMs() < this.#nextRecoveryAtMs;
  }

  #unavailable(): unknown {
    return this.#lastError ?? new ProviderError('token_unavailable', 'auth failed: openbao token unavailable');
  }

  /** One question a second, whoever asks; a denied operation under load must not become a flood of questions. */
  async #isAlive(token: string): Promise<boolean> {
    const nowMs = this.#deps.clock.nowMs();
    const last = this.#lifeSign;
    if (last !== undefined && last.token === token && nowMs - last.askedAtMs < 1_000) return last.isAlive;
    const isAlive = this.#deps.isAlive(token, this.#stopped.signal);
    this.#lifeSign = { token, askedAtMs: nowMs, isAlive };
    return isAlive;
  }

  #discard(rejected: string): void {
    if (this.#held?.value !== rejected) return;
    this.#held = undefined;
    this.#cancelTimer();
  }

  /** A first rejection after ten quiet minutes opens a new incident; each one prolongs the quiet period. */
  #openIncident(): void {
    const nowMs = this.#deps.clock.nowMs();
    if (nowMs >= this.#quietUntilMs) {
      this.#recoveryFailures = 0;
      this.#nextRecoveryAtMs = 0;
    }
    this.#quietUntilMs = nowMs + recovery.quietMs;
  }

  /** OpenBao answers 403 to a dead token and to a policy alike, so even a good login buys only so many more. */
  #beginRecovery(): void {
    this.#recoveryFailures += 1;
    const delayMs = doublingDelayMs(this.#recoveryFailures, recovery.baseMs, recovery.capMs);
    this.#nextRecoveryAtMs = this.#deps.clock.nowMs() + jitterMs(delayMs, this.#deps.random(), recovery.capMs);
    void this.#refresh('login');
  }

  /** `renewal`: of the token if it can be renewed, else a login. */
  #refresh(wanted: 'renewal' | 'login' | 'trial'): Flight {
    if (this.#flight !== undefined) return this.#flight;
    const held = this.#usable();
    const renewing = wanted === 'renewal' && held?.isRenewable === true ? held : undefined;
    const flight: Flight = { done: this.#fly(renewing, wanted === 'trial') };
    this.#flight = flight;
    void flight.done.finally(() => {
      if (this.#flight === flight) this.#flight = undefined;
    });
    return flight;
  }

  /** Never rejects: the outcome is in the state. Rooted in the process, not in any caller. */
  async #fly(renewing: Held | undefined, isTrial: boolean): Promise<void> {
    await this.#untilFloor();
    if (this.#stopped.signal.aborted) return;
    const limits = { timeoutMs: this.#deps.settings.loginTimeoutMs, signal: this.#stopped.signal };
    const late = () => new ProviderError('timeout', 'auth failed: the login took longer than auth.loginTimeout');
    await withDeadline(limits, late, this.#deps.clock, async (signal) => {
      const isRenewed = renewing !== undefined && (await this.#tryRenewal(renewing, signal));
      if (!isRenewed) await this.#tryLogin(signal, isTrial);
    });
  }

  /** A second between two logins, whatever asks for them: tokens that are revoked again and again cause no storm. */
  async #untilFloor(): Promise<void> {
    const { clock } = this.#deps;
    const waitMs = this.#lastLoginAtMs + login.floorMs - clock.nowMs();
    if (waitMs > 0) await pause(clock, waitMs);
  }

  /** @returns whether nothing more is to be done in this flight */
  async #tryRenewal(held: Held, signal: AbortSignal): Promise<boolean> {
    const startedAtMs = this.#deps.clock.nowMs();
    const record = (error?: unknown) => this.#record('renewal', startedAtMs, error);
    try {
      const grant = await this.#deps.renew(held.value, signal);
      signal.throwIfAborted();
      if (this.#held !== held) return true;
      this.#hold({ ...grant, token: grant.token ?? held.value });
      record();
      return true;
    } catch (error) {
      record(error);
      return this.#stopped.signal.aborted;
    }
  }

  async #tryLogin(signal: AbortSignal, isTrial: boolean): Promise<void> {
    const startedAtMs = this.#deps.clock.nowMs();
    this.#lastLoginAtMs = startedAtMs;
    try {
      const grant = await this.#deps.login(signal, isTrial);
      signal.throwIfAborted();
      this.#hold(grant);
      this.#record('login', startedAtMs);
    } catch (error) {
      if (this.#stopped.signal.aborted) return;
      if (!isTrial || this.#usable() === undefined) this.#failed(error);
      this.#record('login', startedAtMs, error);
    }
  }

  #hold(grant: Grant): void {
    if (grant.token === undefined) return;
    const age = startAge(this.#deps.clock);
    this.#held = { value: grant.token, leaseMs: grant.leaseMs, age, isRenewable: grant.isRenewable };
    this.#lastError = undefined;
    this.#failures = 0;
    this.#nextRetryAtMs = 0;
    this.#cancelTimer();
    // The lazy path in token() stays; this one serves a quiet node (spec/login 3.1).
    this.#cancelTimer = this.#deps.clock.after(
      Math.max(0, grant.leaseMs - this.#windowMs),
      () => void this.#refresh('renewal'),
    );
  }

  #failed(error: unknown): void {
    this.#lastError = error;
    this.#failures += 1;
    const delayMs = doublingDelayMs(this.#failures, login.baseMs, login.capMs);
    this.#nextRetryAtMs = this.#deps.clock.nowMs() + jitterMs(delayMs, this.#deps.random(), login.capMs);
  }

  #record(kind: TokenEvent['kind'], startedAtMs: number, error?: unknown): void {
    const durationMs = this.#deps.clock.nowMs() - startedAtMs;
    this.#deps.record(error === undefined ? { kind, durationMs } : { kind, durationMs, error });
  }
}

function remainingMs(held: Held): number {
  return held.leaseMs - held.age.ageMs();
}
