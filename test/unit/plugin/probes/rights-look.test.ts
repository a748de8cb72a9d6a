// A right that was missing, is granted again and is proven by round trips must not keep Status unhealthy for ever.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createHealthWorld } from '../../../support/health-world.ts';

for (const refusal of ['bao_permission_denied', 'bao_unavailable'] as const) {
  test(`a mended right shows within 15 s also when sys/capabilities-self answers ${refusal}`, async () => {
    const world = createHealthWorld(() => 0.5);
    const stopped = new AbortController();
    void world.scheduler.run(stopped.signal);
    await world.clock.runUntil(world.clock.nowMs() + 60_000);
    assert.is(world.cache.verdict().healthz, 'ok');
    world.world.missing = ['missing_decrypt'];
    world.faults.decrypt = 'bao_permission_denied';
    for (let n = 0; n < 5; n += 1) {
      await world.call('decrypt', `c${n}`, false);
      await world.clock.runUntil(world.clock.nowMs() + 30_000);
    }
    assert.is(world.cache.verdict().healthz, 'unhealthy');
    // The administrator grants decrypt again; the new policy says nothing of sys/capabilities-self, or it cannot be asked.
    world.world.missing = [];
    world.faults.decrypt = undefined;
    world.faults.rights = refusal;
    let recoveredAfterMs: number | undefined;
    for (let waitedMs = 0; waitedMs < 24 * 3_600_000 && recoveredAfterMs === undefined; ) {
      const stepMs = waitedMs < 60_000 ? 5_000 : 600_000;
      await world.clock.runUntil(world.clock.nowMs() + stepMs);
      waitedMs += stepMs;
      const { error } = await world.call('decrypt', 'good', false);
      assert.is(error, undefined, 'every Decrypt is served');
      if (world.cache.verdict().healthz === 'ok') recoveredAfterMs = waitedMs;
    }
    const { healthz, reasons, cause } = world.cache.verdict();
    stopped.abort();
    console.log({ refusal, recoveredAfterMs, healthz, reasons, cause, isDeepGood: world.cache.isDeepGood });
    assert.ok((recoveredAfterMs ?? Number.POSITIVE_INFINITY) <= 15_000);
  });
}
test.run();
