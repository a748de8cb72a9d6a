// The machine of credentials on trial at its bounds: which generation counts, when a login is due, and how long a trial waits.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type AttemptEnd, loginSteps } from '../../../../plugin/session/login-steps.ts';
import {
  decide,
  type Effect,
  type Event,
  firstState,
  type Local,
  type NameState,
  type Now,
  type Outcome,
  type State,
  type TrialName,
} from '../../../../plugin/session/trials.ts';

const rules = { refreshWindowMs: { openbao_ca: 0, login: 120_000 } };
const words = { early: { class: 'jwt_not_yet_valid' }, over: { class: 'jwt_near_expiry' } };
const usable: Local = { kind: 'timed', fromUnixMs: 0, untilUnixMs: Number.POSITIVE_INFINITY, ...words };
const over: Local = { ...usable, untilUnixMs: 1 };
const refused: Outcome = { kind: 'refused', cause: { class: 'auth_rejected' } };
const inUse = (generation: number, change: { readonly local?: Local; readonly isBroken?: boolean } = {}) => ({
  generation,
  local: usable,
  isBroken: false,
  ...change,
});
const candidate = (generation: number, nextTryAtMs = 0): NonNullable<NameState['candidate']> => ({
  generation,
  local: usable,
  offeredAtMs: 0,
  failures: 0,
  triedAtMs: 0,
  nextTryAtMs,
  told: undefined,
});
const stateOf = (names: Partial<Record<TrialName, Partial<NameState>>>, change: Partial<State> = {}): State => ({
  ...firstState,
  names: {
    openbao_ca: { ...firstState.names.openbao_ca, ...names.openbao_ca },
    login: { ...firstState.names.login, ...names.login },
  },
  ...change,
});
const step = (state: State, event: Event, change: Partial<Now> = {}) =>
  decide(rules, state, event, { nowMs: 100_000, wallMs: 100_000, hasToken: true, random: 0, ...change });
const kinds = (effects: readonly Effect[]) => effects.map(({ kind }) => kind);
const offered = (name: TrialName, generation: number): Event => ({
  kind: 'offered',
  name,
  generation,
  local: usable,
  isSame: false,
});

for (const [what, names] of [
  ['the one in use', { login: { inUse: inUse(3) } }],
  ['the candidate', { login: { inUse: inUse(1), candidate: candidate(3, 200_000) } }],
] as const) {
  test(`a generation that is not newer than ${what} changes nothing`, () => {
    for (const generation of [2, 3]) {
      const { state, effects } = step(stateOf(names), offered('login', generation));
      assert.equal([state, kinds(effects)], [stateOf(names), ['arm']], `${generation}`);
    }
    assert.is(step(stateOf(names), offered('login', 4)).state.names.login.candidate?.generation, 4);
  });
}

test('the first login of all is due at once, and later ones when their time has come and not before', () => {
  const state = stateOf({ openbao_ca: { inUse: inUse(1) }, login: { inUse: inUse(1) } });
  assert.equal(kinds(step(state, { kind: 'tick' }, { hasToken: false, nowMs: 0 }).effects), ['try', 'arm']);
  const later = { ...state, nextLoginAtMs: 100_000 };
  assert.equal(step(later, { kind: 'tick' }, { hasToken: false, nowMs: 99_999 }).effects, [
    { kind: 'arm', afterMs: 1 },
  ]);
  assert.equal(kinds(step(later, { kind: 'tick' }, { hasToken: false }).effects), ['try', 'arm']);
  assert.equal(kinds(step(later, { kind: 'tick' }).effects), ['arm'], 'with a token there is nothing to log in for');
});

test('without any JWT no login is tried; with a candidate alone one is', () => {
  assert.equal(kinds(step(stateOf({}), { kind: 'tick' }, { hasToken: false }).effects), ['arm']);
  const alone = stateOf({ login: { candidate: candidate(1, 1_000_000) } });
  assert.equal(step(alone, { kind: 'tick' }, { hasToken: false }).effects[0], {
    kind: 'try',
    name: 'login',
    generation: 1,
  });
});

test('a candidate that has to wait is no reason to go without a token: a login is tried when one is due', () => {
  const waiting = { ...candidate(1, 200_000), triedAtMs: 99_000 };
  const state = stateOf({ openbao_ca: { inUse: inUse(1) }, login: { candidate: waiting, lastTrialAtMs: 90_000 } });
  assert.equal(step(state, { kind: 'tick' }, { hasToken: false }).effects[0], {
    kind: 'try',
    name: 'login',
    generation: undefined,
  });
  assert.equal(kinds(step(state, { kind: 'tick' }).effects), ['arm']);
});

test('one trial at a time, and two of a name begin five seconds apart', () => {
  const waiting = { inUse: inUse(1), candidate: candidate(2) };
  const running = stateOf({ login: waiting }, { trial: { name: 'openbao_ca', generation: 1 } });
  assert.equal(kinds(step(running, { kind: 'tick' }).effects), ['arm']);
  for (const [lastTrialAtMs, isTried] of [
    [95_000, true],
    [95_001, false],
  ] as const) {
    const { effects } = step(stateOf({ login: { ...waiting, lastTrialAtMs } }), { kind: 'tick' });
    assert.is(kinds(effects).includes('try'), isTried, `${lastTrialAtMs}`);
  }
});

test('when the one in use is refused its candidate is tried at once; when it is well again nothing is hurried', () => {
  const tried = (outcome: Outcome): Event => ({ kind: 'tried', name: 'login', generation: 1, local: usable, outcome });
  const waiting = (isBroken: boolean) =>
    stateOf({ login: { inUse: inUse(1, { isBroken }), candidate: { ...candidate(2, 150_000), triedAtMs: 99_000 } } });
  const broken = step(waiting(false), tried(refused));
  assert.equal([broken.state.names.login.inUse?.isBroken, kinds(broken.effects)], [true, ['try', 'arm']]);
  const well = step(waiting(true), tried({ kind: 'good' }));
  assert.equal([well.state.names.login.inUse?.isBroken, kinds(well.effects)], [false, ['arm']]);
  assert.is(well.state.names.login.candidate?.nextTryAtMs, 150_000);
});

test('a candidate that is refused again and again waits longer and longer, at most fifty seconds', () => {
  const local: Local = { ...usable };
  let state = stateOf({
    openbao_ca: { inUse: inUse(1) },
    login: { inUse: inUse(1), candidate: candidate(2, 1_000_000) },
  });
  const waits: number[] = [];
  for (let count = 0; count < 6; count += 1) {
    state = step(
      state,
      { kind: 'tried', name: 'login', generation: 2, local, outcome: refused },
      { random: 0.5 },
    ).state;
    waits.push((state.names.login.candidate?.nextTryAtMs ?? 0) - 100_000);
  }
  assert.equal(waits, [5_000, 10_000, 20_000, 40_000, 50_000, 50_000]);
});

/** The attempts of one login, each ending as told. */
function attempts(state: State, ends: readonly AttemptEnd[], input: { hasToken?: boolean; isTrial?: boolean } = {}) {
  const made: string[] = [];
  const left = [...ends];
  const steps = loginSteps({ state: () => state, wallMs: 100_000, hasToken: false, isTrial: false, ...input });
  let next = steps.next();
  while (next.done !== true) {
    const effect = next.value;
    if (effect.kind === 'attempt') made.push(`ca ${effect.attempt.openbaoCa} jwt ${effect.attempt.login}`);
    next = steps.next(effect.kind === 'attempt' ? left.shift() : undefined);
  }
  return { made, end: next.value.kind };
}

const refusal: AttemptEnd = { kind: 'refused', cause: { class: 'auth_rejected' } };
const silence: AttemptEnd = { kind: 'no_answer', cause: { class: 'timeout' } };
const ca = { inUse: inUse(1) };

test('after a refusal the other JWT is tried, after silence it is not', () => {
  const two = stateOf({ openbao_ca: ca, login: { inUse: inUse(1), candidate: candidate(2) } });
  assert.equal(attempts(two, [refusal, refusal]), { made: ['ca 1 jwt 1', 'ca 1 jwt 2'], end: 'failed' });
  assert.equal(attempts(two, [refusal, { kind: 'granted' }]).end, 'granted');
  assert.equal(attempts(two, [silence]), { made: ['ca 1 jwt 1'], end: 'failed' });
});

test('what is in use goes first while it is well, and the candidate when it is not or is to be proven', () => {
  const order = (used: ReturnType<typeof inUse> | undefined, input = {}) =>
    attempts(stateOf({ openbao_ca: ca, login: { inUse: used, candidate: candidate(2) } }), [refusal, refusal], input)
      .made;
  const [first, second] = ['ca 1 jwt 1', 'ca 1 jwt 2'];
  assert.equal(order(inUse(1)), [first, second]);
  assert.equal(order(inUse(1, { isBroken: true })), [second, first]);
  assert.equal(order(inUse(1, { local: over })), [second]);
  assert.equal(order(undefined), [second]);
  assert.equal(order(inUse(1), { isTrial: true }), [second, first]);
  assert.equal(order(inUse(1), { isTrial: true, hasToken: true }), [second]);
});

test('a CA that does not verify is followed by the other one, and nothing usable is no failure of a login', () => {
  const tlsFailed: AttemptEnd = { kind: 'tls_failed', cause: { class: 'bao_tls_failed' } };
  const both = stateOf({ openbao_ca: { inUse: inUse(1), candidate: candidate(2) }, login: { inUse: inUse(1) } });
  assert.equal(attempts(both, [tlsFailed, { kind: 'granted' }]).made, ['ca 1 jwt 1', 'ca 2 jwt 1']);
  assert.equal(attempts(both, [silence]).made, ['ca 1 jwt 1']);
  const dead = stateOf({ openbao_ca: ca, login: { inUse: inUse(1, { local: over }) } });
  assert.equal(attempts(dead, []), { made: [], end: 'nothing_usable' });
});

test.run();
