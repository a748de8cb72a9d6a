// How many connections may be given up: a burst of twice the pool, then the pool once a second, and no more is saved up.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createTurnover } from '../../../../plugin/http/turnover.ts';

test('a burst of twice the pool is allowed, then as many in a second as the pool has', () => {
  let nowMs = 0;
  const turnover = createTurnover(4, () => nowMs);
  const spendAll = () => {
    let spent = 0;
    for (; turnover.isAllowed() && spent < 100; spent += 1) turnover.spend(1);
    return spent;
  };
  assert.is(spendAll(), 8);
  nowMs += 249;
  assert.is(turnover.isAllowed(), false);
  nowMs += 1;
  assert.is(spendAll(), 1);
  nowMs += 1_000;
  assert.is(spendAll(), 4);
  nowMs += 3_600_000;
  assert.is(spendAll(), 8, 'no more than the burst is saved up');
});

test('who spends more than there is waits until it is paid back', () => {
  let nowMs = 0;
  const turnover = createTurnover(4, () => nowMs);
  turnover.spend(12);
  nowMs += 1_249;
  assert.is(turnover.isAllowed(), false);
  nowMs += 1;
  assert.is(turnover.isAllowed(), true);
});

test.run();
