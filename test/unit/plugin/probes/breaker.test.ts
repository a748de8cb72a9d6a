// The breaker at the edge of its pause.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { afterFailure, closedBreaker, halfOpened, isOpen, stateOf } from '../../../../plugin/probes/breaker.ts';

test('it is open until its pause is over, and no moment longer', () => {
  let breaker = closedBreaker;
  for (let failure = 0; failure < 3; failure += 1) breaker = afterFailure(breaker, 0, 10_000);
  assert.equal([isOpen(breaker, 9_999), isOpen(breaker, 10_000)], [true, false]);
});

test('two failures open it for no longer than the server asked, and without such a wish not at all', () => {
  const once = afterFailure(closedBreaker, 0, 10_000);
  assert.is(isOpen(once, 0), false);
  const twice = afterFailure(once, 0, 10_000);
  assert.is(isOpen(twice, 0), false);
  const asked = afterFailure(once, 1_000, 11_000, 7_000);
  assert.equal([isOpen(asked, 7_999), isOpen(asked, 8_000)], [true, false]);
  const tooLong = afterFailure(once, 1_000, 11_000, 60_000);
  assert.equal([isOpen(tooLong, 10_999), isOpen(tooLong, 11_000)], [true, false]);
});

test('it is half open once its pause is over, and closed before its third failure', () => {
  let breaker = closedBreaker;
  const states = [1, 2, 3].map(() => {
    breaker = afterFailure(breaker, 0, 10_000);
    return stateOf(breaker, 0);
  });
  assert.equal([...states, stateOf(breaker, 10_000)], ['closed', 'closed', 'open', 'half_open']);
  assert.is(stateOf(halfOpened(breaker), 0), 'half_open');
});

test.run();
