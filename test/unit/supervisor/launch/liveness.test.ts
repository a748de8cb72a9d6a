// Whether a plugin lives: only the answer to the last question says so.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { watchLiveness } from '../../../../supervisor/launch/liveness.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';

function watched() {
  const clock = createFakeClock();
  const pings: number[] = [];
  let hangs = 0;
  const hung = () => {
    hangs += 1;
  };
  const liveness = watchLiveness(clock, (id) => pings.push(id), hung);
  return { clock, pings, liveness, hangs: () => hangs };
}

test('one that answers each ping lives', async () => {
  const { clock, pings, liveness, hangs } = watched();
  for (let second = 0; second < 60; second += 2) {
    await clock.advance(2_000);
    liveness.pong(pings.at(-1) ?? 0);
  }
  assert.is(hangs(), 0);
});

test('one that repeats an old answer hangs', async () => {
  const { clock, liveness, hangs } = watched();
  for (let second = 0; second < 16; second += 2) {
    await clock.advance(2_000);
    liveness.pong(1);
  }
  assert.is(hangs(), 1);
});

test.run();
