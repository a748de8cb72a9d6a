// Credentials on trial, as one pure machine for every credential name. The newest generation on disk is the candidate until it
// is in use or a newer one replaces it; it is tried again and again, and nothing that still works is given up for it. What is
// done when what happens stands here and nowhere else: no clock, no random, no I/O (docs/states.md, "Credentials on trial").

import type { Cause } from '../../shared/errors/cause.ts';
import { doublingDelayMs, jitterMs } from '../../shared/time/backoff.ts';

/**
 * What is tried, in the order of the trials: without the right CA nothing is learned about a login. `login` stands for all credentials
 * that the login method needs: they are proven together.
 */
export const trialNames = ['openbao_ca', 'login'] as const;
export type TrialName = (typeof trialNames)[number];

/** What can be told of a generation without asking anybody; times are Unix milliseconds. */
export type Local =
  | {
      readonly kind: 'timed';
      readonly fromUnixMs: number;
      readonly untilUnixMs: number;
      readonly early: Cause;
      readonly over: Cause;
    }
  | { readonly kind: 'unusable'; readonly cause: Cause };

export type Outcome =
  | { readonly kind: 'good' }
  /** It was answered, and the answer speaks against this very credential. */
  | { readonly kind: 'refused'; readonly cause: Cause }
  /** Nothing was learned about it. */
  | { readonly kind: 'unproven'; readonly cause: Cause };

type InUse = {
  readonly generation: number;
  readonly local: Local;
  /** It was refused, or its TLS failed, since it last worked. */
  readonly isBroken: boolean;
};

type Candidate = {
  readonly generation: number;
  readonly local: Local;
  readonly offeredAtMs: number;
  readonly failures: number;
  /** When its last trial ended. */
  readonly triedAtMs: number;
  readonly nextTryAtMs: number;
  /** The last thing that was said about it, and when. */
  readonly told: { readonly outcome: Exclude<Outcome, { kind: 'good' }>; readonly atMs: number } | undefined;
};

export type NameState = {
  readonly inUse: InUse | undefined;
  readonly candidate: Candidate | undefined;
  readonly lastTrialAtMs: number;
};

export type State = {
  readonly names: Readonly<Record<TrialName, NameState>>;
  /** The one trial that runs. `generation` undefined: a login because there is no token. */
  readonly trial: { readonly name: TrialName; readonly generation: number | undefined } | undefined;
  readonly nextLoginAtMs: number;
};

export type Event =
  /** `isSame`: its bytes are those of the generation in use. */
  | {
      readonly kind: 'offered';
      readonly name: TrialName;
      readonly generation: number;
      readonly local: Local;
      readonly isSame: boolean;
    }
  /** What an attempt taught about one generation, in a trial or in any other use of it. */
  | {
      readonly kind: 'tried';
      readonly name: TrialName;
      readonly generation: number;
      readonly local: Local;
      readonly outcome: Outcome;
    }
  | { readonly kind: 'trial_ended' }
  | { readonly kind: 'tick' };

export type Effect =
  /** For `login`: a login, with the candidate first; for a CA: a TLS handshake. Ends with `trial_ended`. */
  | { readonly kind: 'try'; readonly name: TrialName; readonly generation: number | undefined }
  /** From now on everybody uses this generation. */
  | { readonly kind: 'adopt'; readonly name: TrialName; readonly generation: number }
  | {
      readonly kind: 'tell';
      readonly name: TrialName;
      readonly generation: number;
      readonly outcome: Outcome;
      /** Undefined: only another file helps. */
      readonly nextTryMs: number | undefined;
    }
  /** Ask again with `tick` after this time. */
  | { readonly kind: 'arm'; readonly afterMs: number };

export type Step = { readonly state: State; readonly effects: readonly Effect[] };

/** `hasToken`: an OpenBao token is alive. `random`: 0 up to but not including 1. */
export type Now = {
  readonly nowMs: number;
  readonly wallMs: number;
  readonly hasToken: boolean;
  readonly random: number;
};

export type Rules = {
  /** A credential in use that ends within twice this time makes its candidate urgent. */
  readonly refreshWindowMs: Readonly<Record<TrialName, number>>;
};

export const pace = {
  firstRetryMs: 5_000,
  /** With the time of a trial itself a candidate is in use at most 60 s after it became good. */
  maxRetryMs: 50_000, // control: trials.max-retry
  urgentMs: 5_000,
  /** At most one trial of a name begins in this time. */
  spacingMs: 5_000,
  /** The same word about the same candidate is said at most this often. */
  repeatMs: 60_000,
  /** Wall clocks jump and tokens end without an event, so everything is looked at this often. */
  lookMs: 10_000,
} as const;

const untried: NameState = { inUse: undefined, candidate: undefined, lastTrialAtMs: Number.NEGATIVE_INFINITY };
export const firstState: State = { names: { openbao_ca: untried, login: untried }, trial: undefined, nextLoginAtMs: 0 };

export function decide(rules: Rules, state: State, event: Event, now: Now): Step {
  const { state: next, effects } = take(rules, state, event, now);
  const expired = tellOver(next, now);
  const settled = begin(rules, expired.state, now);
  return {
    state: settled.state,
    effects: [...effects, ...expired.effects, ...settled.effects, arm(rules, settled.state, now)],
  };
}

/** Whether a generation can be sent at all at this moment. */
export type Standing = 'usable' | 'early' | 'over' | 'unusable';
export function standingOf(local: Local, wallMs: number): Standing {
  if (local.kind === 'unusable') return 'unusable';
  if (wallMs < local.fromUnixMs) return 'early';
  return wallMs < local.untilUnixMs ? 'usable' : 'over';
}

/** Why a generation cannot be sent at this moment; undefined when it can. */
export function localCause(local: Local, wallMs: number): Cause | undefined {
  if (local.kind === 'unusable') return local.cause;
  const standing = standingOf(local, wallMs);
  return standing === 'early' ? local.early : standing === 'over' ? local.over : undefined;
}

function take(rules: Rules, state: State, event: Event, now: Now): Step {
  switch (event.kind) {
    case 'offered':
      return offered(state, event, now);
    case 'tried':
      return tried(rules, state, event, now);
    case 'trial_ended':
      return nothing(trialEnded(state, now));
    case 'tick':
      return nothing(state);
  }
}

const nothing = (state: State): Step => ({ state, effects: [] });

function withName(state: State, name: TrialName, change: Partial<NameState>): State {
  return { ...state, names: { ...state.names, [name]: { ...state.names[name], ...change } } };
}

function offered(state: State, event: Event & { kind: 'offered' }, now: Now): Step {
  const { name, generation, local, isSame } = event;
  const { inUse, candidate } = state.names[name];
  if (generation <= Math.max(inUse?.generation ?? 0, candidate?.generation ?? 0)) return nothing(state);
  const isInUseAlready = isSame && inUse?.isBroken === false && standingOf(local, now.wallMs) === 'usable';
  // There is nothing to compare the first CA with, and no way to OpenBao without it.
  const isFirstCa = name === 'openbao_ca' && inUse === undefined && local.kind === 'timed';
  if (isInUseAlready || isFirstCa) return adopt(state, name, generation, local);
  const fresh = {
    generation,
    local,
    offeredAtMs: now.nowMs,
    failures: 0,
    triedAtMs: Number.NEGATIVE_INFINITY,
    nextTryAtMs: now.nowMs,
    told: undefined,
  };
  return tellLocal(withName(state, name, { candidate: fresh }), name, now);
}

/** Said at once, because no trial will say it. */
function tellLocal(state: State, name: TrialName, now: Now): Step {
  const { candidate } = state.names[name];
  const cause = candidate && localCause(candidate.local, now.wallMs);
  if (candidate === undefined || cause === undefined) return nothing(state);
  const isEarly = standingOf(candidate.local, now.wallMs) === 'early';
  const outcome = { kind: isEarly ? 'unproven' : 'refused', cause } as const;
  const waitMs = candidate.local.kind === 'timed' ? candidate.local.fromUnixMs - now.wallMs : 0;
  return tell(state, name, outcome, isEarly ? waitMs : undefined, now);
}

/** A candidate that ends while it waits is refused once more, by its end. */
function tellOver(state: State, now: Now): Step {
  return trialNames.reduce<Step>(
    (step, name) => {
      const { candidate } = step.state.names[name];
      if (candidate === undefined || standingOf(candidate.local, now.wallMs) === 'usable') return step;
      const told = tellLocal(step.state, name, now);
      return { state: told.state, effects: [...step.effects, ...told.effects] };
    },
    { state, effects: [] },
  );
}

function adopt(state: State, name: TrialName, generation: number, local: Local): Step {
  const { candidate } = state.names[name];
  const newer = candidate !== undefined && candidate.generation > generation ? candidate : undefined;
  const adopted = withName(state, name, { inUse: { generation, local, isBroken: false }, candidate: newer });
  return {
    // Over another CA a login may end otherwise.
    state: name === 'openbao_ca' ? hurry(adopted, 'login') : adopted,
    effects: [
      { kind: 'adopt', name, generation },
      { kind: 'tell', name, generation, outcome: { kind: 'good' }, nextTryMs: undefined },
    ],
  };
}

/** The world has changed for this name: its candidate is tried as soon as the spacing allows. */
function hurry(state: State, name: TrialName): State {
  const { candidate } = state.names[name];
  if (candidate === undefined) return state;
  return withName(state, name, { candidate: { ...candidate, nextTryAtMs: Number.NEGATIVE_INFINITY } });
}

function tried(rules: Rules, state: State, event: Event & { kind: 'tried' }, now: Now): Step {
  const { name, generation, outcome } = event;
  const { inUse, candidate } = state.names[name];
  if (generation === inUse?.generation) return nothing(judgeInUse(state, name, inUse, outcome));
  // control: trials.good
  if (outcome.kind === 'good') {
    // One that was overtaken while it was tried is proven all the same; files that change faster than trials end must not
    // keep the provider from ever taking one.
    const isNewer = generation > (inUse?.generation ?? 0);
    return isNewer ? adopt(state, name, generation, event.local) : nothing(state); // control: trials.newer
  }
  if (candidate === undefined || generation !== candidate.generation) return nothing(state);
  const failures = candidate.failures + 1;
  const delayMs = isUrgent(rules, state, name, now) ? urgentDelayMs(now.random) : retryDelayMs(failures, now.random);
  // control: trials.try-again
  const later = { ...candidate, failures, triedAtMs: now.nowMs, nextTryAtMs: now.nowMs + delayMs };
  return tell(withName(state, name, { candidate: later }), name, outcome, delayMs, now);
}

function judgeInUse(state: State, name: TrialName, inUse: InUse, outcome: Outcome): State {
  if (outcome.kind === 'unproven') return state;
  const isBroken = outcome.kind === 'refused';
  if (isBroken === inUse.isBroken) return state;
  const judged = withName(state, name, { inUse: { ...inUse, isBroken } });
  return isBroken ? hurry(judged, name) : judged;
}

function trialEnded(state: State, now: Now): State {
  const isLogin = state.trial?.name === 'login';
  return { ...state, trial: undefined, ...(isLogin ? { nextLoginAtMs: now.nowMs + urgentDelayMs(now.random) } : {}) };
}

/** Says it unless the same was said of the same candidate within the last minute. */
function tell(
  state: State,
  name: TrialName,
  outcome: Exclude<Outcome, { kind: 'good' }>,
  nextTryMs: number | undefined,
  now: Now,
): Step {
  const { candidate } = state.names[name];
  if (candidate === undefined) return nothing(state);
  const { told } = candidate;
  const isSame = told !== undefined && isSameWord(told.outcome, outcome);
  // Without a trial there is nothing to repeat.
  // control: trials.repeat
  const isRepeat = isSame && (nextTryMs === undefined || now.nowMs - told.atMs < pace.repeatMs);
  if (isRepeat) return nothing(state); // control: trials.tell-once
  return {
    state: withName(state, name, { candidate: { ...candidate, told: { outcome, atMs: now.nowMs } } }),
    effects: [{ kind: 'tell', name, generation: candidate.generation, outcome, nextTryMs }],
  };
}

function isSameWord(one: Outcome, other: Outcome): boolean {
  if (one.kind === 'good' || other.kind === 'good') return one.kind === other.kind;
  return one.kind === other.kind && one.cause.class === other.cause.class && one.cause.detail === other.cause.detail;
}

/** Begins the one trial that is due, if any. */
function begin(rules: Rules, state: State, now: Now): Step {
  if (state.trial !== undefined) return nothing(state);
  const due = trialNames.find((name) => dueInMs(rules, state, name, now) <= 0);
  const isLoginDue = due === undefined && isLoginWanted(state, now) && now.nowMs >= state.nextLoginAtMs;
  const name = due ?? (isLoginDue ? 'login' : undefined);
  if (name === undefined) return nothing(state);
  const { candidate } = state.names[name];
  const generation = due === undefined ? undefined : candidate?.generation;
  return {
    state: { ...withName(state, name, { lastTrialAtMs: now.nowMs }), trial: { name, generation } },
    effects: [{ kind: 'try', name, generation }],
  };
}

/** Until the candidate of a name is tried, milliseconds; infinite when nothing but time or another file helps. */
function dueInMs(rules: Rules, state: State, name: TrialName, now: Now): number {
  const { candidate, lastTrialAtMs } = state.names[name];
  if (candidate === undefined) return Number.POSITIVE_INFINITY;
  const standing = standingOf(candidate.local, now.wallMs);
  if (standing !== 'usable') return Number.POSITIVE_INFINITY;
  // It may have become urgent since its next trial was set.
  const isUrgentNow = isUrgent(rules, state, name, now);
  const urgentAtMs = isUrgentNow ? candidate.triedAtMs + urgentDelayMs(1) : Number.POSITIVE_INFINITY;
  const atMs = Math.min(candidate.nextTryAtMs, Math.max(urgentAtMs, candidate.offeredAtMs));
  return Math.max(atMs, lastTrialAtMs + pace.spacingMs) - now.nowMs; // control: trials.spacing
}

function isLoginWanted(state: State, now: Now): boolean {
  const { inUse, candidate } = state.names.login;
  return !now.hasToken && (inUse !== undefined || candidate !== undefined);
}

/** Nothing to lose: what is in use is dead, or soon will be. */
function isUrgent(rules: Rules, state: State, name: TrialName, now: Now): boolean {
  const { inUse } = state.names[name];
  if (inUse === undefined || inUse.isBroken || !now.hasToken) return true;
  return standingOf(inUse.local, now.wallMs + 2 * rules.refreshWindowMs[name]) !== 'usable';
}

function urgentDelayMs(random: number): number {
  return pace.urgentMs * (1 + 0.25 * random);
}

function retryDelayMs(failures: number, random: number): number {
  const delayMs = doublingDelayMs(failures, pace.firstRetryMs, 60_000); // control: trials.doubling
  return jitterMs(delayMs, random, pace.maxRetryMs);
}

function arm(rules: Rules, state: State, now: Now): Effect {
  const waits = trialNames.map((name) => {
    const { candidate } = state.names[name];
    const isEarly = candidate !== undefined && standingOf(candidate.local, now.wallMs) === 'early';
    if (isEarly && candidate.local.kind === 'timed') return candidate.local.fromUnixMs - now.wallMs;
    return dueInMs(rules, state, name, now);
  });
  const loginMs = isLoginWanted(state, now) ? state.nextLoginAtMs - now.nowMs : Number.POSITIVE_INFINITY;
  const isBusy = state.trial !== undefined;
  const afterMs = isBusy ? pace.lookMs : Math.min(pace.lookMs, loginMs, ...waits);
  return { kind: 'arm', afterMs: Math.max(1, afterMs) };
}
