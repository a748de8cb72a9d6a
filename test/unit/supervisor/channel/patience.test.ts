// How long something may go on: from the first call, anew after its end, and without the time in which this process stood still.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createPatience } from '../../../../supervisor/channel/patience.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';

function bench() {
  const clock = createFakeClock();
  let stoodStillMs = 0;
  let over = 0;
  const late = { after: clock.after, nowMs: () => clock.nowMs() + stoodStillMs };
  const patience = createPatience(late, 3_000, () => {
    over += 1;
  });
  const standStill = (ms: number) => {
    stoodStillMs += ms;
  };
  return { clock, patience, standStill, over: () => over };
}

test('it is over after its limit and not before, and said once', async () => {
  const { clock, patience, over } = bench();
  patience.begin();
  await clock.advance(2_999);
  assert.is(over(), 0);
  await clock.advance(1);
  assert.is(over(), 1);
  await clock.advance(60_000);
  assert.equal([over(), clock.timers()], [1, 0]);
});

test('said again while it goes on, it runs from the first call, in one timer', async () => {
  const { clock, patience, over } = bench();
  for (let said = 0; said < 6; said += 1) {
    patience.begin();
    assert.is(clock.timers(), 1);
    await clock.advance(500);
  }
  assert.is(over(), 1);
});

test('ended and begun again, it has its whole limit', async () => {
  const { clock, patience, over } = bench();
  for (let round = 0; round < 3; round += 1) {
    patience.begin();
    await clock.advance(2_500);
    patience.end();
    assert.is(clock.timers(), 0);
  }
  patience.begin();
  await clock.advance(2_999);
  assert.is(over(), 0);
  await clock.advance(1);
  assert.is(over(), 1);
});

test('after it was over it can go on for too long once more', async () => {
  const { clock, patience, over } = bench();
  patience.begin();
  await clock.advance(3_000);
  patience.begin();
  await clock.advance(3_000);
  assert.is(over(), 2);
});

test('a minute in which this process stood still counts as one second', async () => {
  const { clock, patience, standStill, over } = bench();
  patience.begin();
  await clock.advance(500);
  standStill(60_000);
  await clock.advance(500);
  assert.is(over(), 0);
  await clock.advance(1_999);
  assert.is(over(), 0);
  await clock.advance(1);
  assert.is(over(), 1);
});

test.run();
