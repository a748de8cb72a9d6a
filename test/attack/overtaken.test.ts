// A JWT that was overtaken while a login tried it is proven all the same, also when that login was made for want of a token.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { timelessCa } from '../../plugin/session/local.ts';
import { decide, type Event, firstState, type State } from '../../plugin/session/trials.ts';

const rules = { refreshWindowMs: { openbao_ca: 0, jwt: 60_000 } };
const cause = { class: 'auth_failed' as const, detail: 'signature' as const };

function walk() {
  let state: State = firstState;
  let nowMs = 0;
  return {
    state: () => state,
    pass: (ms: number) => {
      nowMs += ms;
    },
    event: (event: Event, random: number, hasToken = false) => {
      const step = decide(rules, state, event, { nowMs, wallMs: 1_750_000_000_000 + nowMs, hasToken, random });
      state = step.state;
      return step.effects.filter(({ kind }) => kind !== 'arm');
    },
  };
}
const offered = (name: 'jwt' | 'openbao_ca', generation: number): Event => ({
  kind: 'offered',
  name,
  generation,
  local: timelessCa,
  isSame: false,
});

for (const [what, loginRandom] of [
  ['as the candidate', 0.9],
  ['for want of a token', 0],
] as const) {
  test(`tried ${what}`, () => {
    const { event, pass, state } = walk();
    event(offered('openbao_ca', 1), 0.5);
    event(offered('jwt', 1), 0.5);
    pass(100);
    event({ kind: 'tried', name: 'jwt', generation: 1, outcome: { kind: 'refused', cause } as never }, 0.5);
    event({ kind: 'trial_ended' }, loginRandom);
    let begun: unknown[] = [];
    for (let n = 0; n < 100 && begun.length === 0; n += 1) {
      pass(100);
      begun = event({ kind: 'tick' }, 0.5).filter(({ kind }) => kind === 'try');
    }
    console.log(what, JSON.stringify(begun));
    // The login is under way with JWT 1 (it is the only one); a newer file comes before its answer.
    event(offered('jwt', 2), 0.5);
    const effects = event({ kind: 'tried', name: 'jwt', generation: 1, outcome: { kind: 'good' } }, 0.5, true);
    event({ kind: 'trial_ended' }, 0.5, true);
    console.log(JSON.stringify(effects), JSON.stringify(state().names.jwt.inUse));
    assert.is(state().names.jwt.inUse?.generation, 1);
  });
}
test.run();
