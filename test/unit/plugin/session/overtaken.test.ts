// A JWT that was overtaken while a login tried it is proven all the same, also when that login was made for want of a token.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { timelessCa } from '../../../../plugin/session/local.ts';
import {
  decide,
  type Effect,
  type Event,
  firstState,
  type Outcome,
  type State,
  type TrialName,
} from '../../../../plugin/session/trials.ts';

const rules = { refreshWindowMs: { openbao_ca: 0, login: 60_000 } };
const refused: Outcome = { kind: 'refused', cause: { class: 'auth_rejected', detail: 'signature' } };

function createWalk() {
  let state: State = firstState;
  let nowMs = 0;
  return {
    state: () => state,
    pass: (ms: number) => {
      nowMs += ms;
    },
    event: (event: Event, random: number, hasToken = false): readonly Effect[] => {
      const step = decide(rules, state, event, { nowMs, wallMs: 1_750_000_000_000 + nowMs, hasToken, random });
      state = step.state;
      return step.effects;
    },
  };
}
const offered = (name: TrialName, generation: number): Event => ({
  kind: 'offered',
  name,
  generation,
  local: timelessCa,
  isSame: false,
});
const tried = (generation: number, outcome: Outcome): Event => ({
  kind: 'tried',
  name: 'login',
  generation,
  local: timelessCa,
  outcome,
});

for (const [what, loginRandom] of [
  ['as the candidate', 0.9],
  ['for want of a token', 0],
] as const) {
  test(`a JWT that is tried ${what} and overtaken meanwhile comes into use when OpenBao accepts it`, () => {
    const { event, pass, state } = createWalk();
    event(offered('openbao_ca', 1), 0.5);
    event(offered('login', 1), 0.5);
    pass(100);
    event(tried(1, refused), 0.5);
    event({ kind: 'trial_ended' }, loginRandom);
    let hasBegun = false;
    for (let count = 0; count < 100 && !hasBegun; count += 1) {
      pass(100);
      hasBegun = event({ kind: 'tick' }, 0.5).some(({ kind }) => kind === 'try');
    }
    assert.ok(hasBegun);
    event(offered('login', 2), 0.5);
    event(tried(1, { kind: 'good' }), 0.5, true);
    event({ kind: 'trial_ended' }, 0.5, true);

    assert.is(state().names.login.inUse?.generation, 1);
    assert.is(state().names.login.candidate?.generation, 2);
  });
}

test.run();
