// In which order one login tries what there is: pairs of a CA and of what is logged in with, until OpenBao grants a token. Pure; each attempt is
// yielded and its outcome comes back, so that every order can be explored with the very code that runs.

import type { Cause } from '../../shared/errors/cause.ts';
import { localCause, type Outcome, type State, standingOf, type TrialName } from './trials.ts';

export type Attempt = { readonly openbaoCa: number; readonly login: number };

/** How an attempt ended. `tls_failed`: the CA did not verify the server; `no_answer`: nothing was learned. */
export type AttemptEnd =
  | { readonly kind: 'granted' }
  | { readonly kind: 'refused' | 'tls_failed' | 'no_answer'; readonly cause: Cause };

export type LoginEffect =
  | { readonly kind: 'attempt'; readonly attempt: Attempt }
  | { readonly kind: 'tried'; readonly name: TrialName; readonly generation: number; readonly outcome: Outcome };

/** Why no attempt was made, or how the first one ended. */
export type LoginEnd =
  | { readonly kind: 'granted' }
  | { readonly kind: 'failed' }
  | { readonly kind: 'nothing_usable'; readonly generation: number | undefined };

export type LoginInput = {
  /** Asked again after each attempt: an outcome changes what is in use. */
  readonly state: () => State;
  readonly wallMs: number;
  readonly hasToken: boolean;
  /** The candidate is to be proven, although what is in use may be well. */
  readonly isTrial: boolean;
};

/** The answer to `attempt` is its end; `tried` has no answer. */
export function* loginSteps(input: LoginInput): Generator<LoginEffect, LoginEnd, AttemptEnd | undefined> {
  const tries = loginOrder(input);
  if (tries.length === 0) {
    const { candidate, inUse } = input.state().names.login;
    return { kind: 'nothing_usable', generation: (candidate ?? inUse)?.generation };
  }
  for (const login of tries) {
    const end = yield* tryOver(input, login);
    if (end.kind === 'granted') return { kind: 'granted' };
    // Without an answer another credential would learn nothing either.
    if (end.kind !== 'refused') return { kind: 'failed' };
  }
  return { kind: 'failed' };
}

/** One login over each CA until OpenBao answers. */
function* tryOver(input: LoginInput, login: number): Generator<LoginEffect, AttemptEnd, AttemptEnd | undefined> {
  let last: AttemptEnd = { kind: 'no_answer', cause: { class: 'tls_failed' } };
  for (const openbaoCa of caOrder(input.state())) {
    last = (yield { kind: 'attempt', attempt: { openbaoCa, login } }) ?? last;
    if (last.kind === 'tls_failed') {
      const outcome: Outcome = { kind: 'refused', cause: last.cause };
      yield { kind: 'tried', name: 'openbao_ca', generation: openbaoCa, outcome };
      continue;
    }
    // Any answer proves the CA; only a grant proves what was logged in with.
    if (last.kind !== 'no_answer') {
      yield { kind: 'tried', name: 'openbao_ca', generation: openbaoCa, outcome: { kind: 'good' } };
    }
    break;
  }
  yield { kind: 'tried', name: 'login', generation: login, outcome: outcomeOf(last) };
  return last;
}

function outcomeOf(end: AttemptEnd): Outcome {
  if (end.kind === 'granted') return { kind: 'good' };
  return { kind: end.kind === 'refused' ? 'refused' : 'unproven', cause: end.cause };
}

/** While a token is alive a trial stops at the candidate: the one in use has nothing to prove. */
function loginOrder({ state, wallMs, hasToken, isTrial }: LoginInput): readonly number[] {
  const { inUse, candidate } = state().names.login;
  const isUsable = (one: typeof inUse | typeof candidate) =>
    one !== undefined && standingOf(one.local, wallMs) === 'usable' ? [one.generation] : [];
  const isDead = inUse === undefined || inUse.isBroken || localCause(inUse.local, wallMs) !== undefined;
  const both =
    isTrial || isDead ? [...isUsable(candidate), ...isUsable(inUse)] : [...isUsable(inUse), ...isUsable(candidate)];
  return isTrial && hasToken ? isUsable(candidate) : both;
}

/** The one in use first, unless it is known to fail; a failed handshake costs nothing. */
function caOrder(state: State): readonly number[] {
  const { inUse, candidate } = state.names.openbao_ca;
  const inUseFirst = [inUse, candidate?.local.kind === 'timed' ? candidate : undefined];
  const order = inUse?.isBroken === true ? inUseFirst.reverse() : inUseFirst;
  return order.filter((one) => one !== undefined).map(({ generation }) => generation);
}
