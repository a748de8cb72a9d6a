// A wall clock that is set right, or a machine that slept: nothing is wrong with OpenBao, so Status is back within 15 s.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createHealthWorld } from '../../../support/health-world.ts';

for (const hours of [1, -1]) {
  test(`a wall clock that jumps by ${hours} h while all is well makes Status unhealthy for 15 s at most`, async () => {
    const world = createHealthWorld(() => 0.5);
    const stopped = new AbortController();
    void world.scheduler.run(stopped.signal);
    const pass = (ms: number) => world.clock.runUntil(world.clock.nowMs() + ms);
    await pass(20_000);
    assert.is(world.cache.verdict().healthz, 'ok');
    const { wallMs } = world.clock;
    Object.assign(world.clock, { wallMs: () => wallMs() + hours * 3_600_000 });
    let unhealthyMs = 0;
    for (let n = 0; n < 600; n += 1) {
      if (world.cache.verdict().healthz !== 'ok') unhealthyMs += 1_000;
      // Decrypts go on and are all served.
      if (n % 2 === 0) assert.is((await world.call('decrypt', `c${n}`, false)).error, undefined);
      await pass(1_000);
    }
    stopped.abort();
    assert.ok(unhealthyMs <= 15_000, `unhealthy for ${unhealthyMs / 1000} s`);
  });
}
test.run();
