// When the service counts as started: at the first healthy word, or after its grace when a plugin has spoken; once.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { HealthMessage } from '../../../../shared/channel/messages.ts';
import { createReadiness } from '../../../../supervisor/lifecycle/readiness.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';
import { healthy } from '../../../support/life-bench.ts';

const sick: HealthMessage = { ...healthy, healthz: 'unhealthy', reasons: ['status_stale'] };

function bench() {
  const clock = createFakeClock();
  const said: unknown[] = [];
  let ready = 0;
  const readiness = createReadiness(
    clock,
    (level, message, fields) => said.push([level, message, fields?.['healthz'], fields?.['reason']]),
    () => {
      ready += 1;
    },
  );
  return { clock, said, readiness, ready: () => ready };
}

test('a healthy word is enough, before and without the grace, and is said once', async () => {
  const { clock, said, readiness, ready } = bench();
  readiness.begin(60_000);
  readiness.health(sick);
  assert.is(ready(), 0);
  readiness.health(healthy);
  readiness.health(sick);
  readiness.health(healthy);
  await clock.advance(60_000);
  assert.is(ready(), 1);
  assert.equal(said, [['info', 'serve.ready', 'ok', undefined]]);
});

test('after the grace a plugin that has spoken is enough, however unwell it is', async () => {
  const { clock, said, readiness, ready } = bench();
  readiness.begin(60_000);
  readiness.health(sick);
  await clock.advance(59_999);
  assert.is(ready(), 0);
  await clock.advance(1);
  assert.is(ready(), 1);
  assert.equal(said, [['info', 'serve.ready', 'unhealthy', 'status_stale']]);
});

test('a plugin that has not spoken is not ready after any grace, until it speaks', async () => {
  const { clock, readiness, ready } = bench();
  readiness.begin(60_000);
  readiness.health(undefined);
  await clock.advance(3_600_000);
  assert.is(ready(), 0);
  readiness.health(sick);
  assert.is(ready(), 1);
});

test.run();
