// What is said of a bound that was reached: counted each time, told once a minute with how often it was not.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createBounds } from '../../../../plugin/telemetry/bounds.ts';
import { createMetrics } from '../../../../plugin/telemetry/metrics.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';

test('each refusal is counted, each bound is told once a minute, and what was not told is told as a number', async () => {
  const clock = createFakeClock();
  const told: unknown[] = [];
  const metrics = createMetrics(() => {});
  const reached = createBounds(
    (level, message, { name, suppressed } = {}) => told.push([level, message, name, suppressed]),
    metrics,
    clock,
  );
  for (let count = 0; count < 5; count += 1) reached('connections');
  reached('resets');
  await clock.advance(59_999);
  reached('connections');
  assert.equal(told.splice(0), [
    ['warn', 'bound.reached', 'connections', undefined],
    ['warn', 'bound.reached', 'resets', undefined],
  ]);
  await clock.advance(1);
  reached('connections');
  reached('connections');
  assert.equal(told, [['warn', 'bound.reached', 'connections', 5]]);
  const text = await metrics.text();
  assert.match(text, /bound_reached_total\{bound="connections"\} 8/u);
  assert.match(text, /bound_reached_total\{bound="resets"\} 1/u);
});

test.run();
