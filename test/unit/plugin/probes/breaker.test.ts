// The breaker at the edge of its pause.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { afterFailure, closedBreaker, isOpen } from '../../../../plugin/probes/breaker.ts';

test('it is open until its pause is over, and no moment longer', () => {
  let breaker = closedBreaker;
  for (let failure = 0; failure < 3; failure += 1) breaker = afterFailure(breaker, 0, 10_000);
  assert.equal([isOpen(breaker, 9_999), isOpen(breaker, 10_000)], [true, false]);
});

test.run();
