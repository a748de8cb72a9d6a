// A late event loop shows to whoever scrapes, however often the supervisor asked meanwhile.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createEventLoopLag } from '../../../../plugin/telemetry/event-loop-lag.ts';
import type { Cancel } from '../../../../shared/time/clock.ts';

/** Time that stands still but for what the test says; timers that are due run when the loop has its turn. */
function createLoop() {
  let nowMs = 0;
  let timers: { atMs: number; run: () => void }[] = [];
  const after = (ms: number, run: () => void): Cancel => {
    timers.push({ atMs: nowMs + ms, run });
    return () => {};
  };
  const turn = () => {
    const due = timers.filter(({ atMs }) => atMs <= nowMs);
    timers = timers.filter(({ atMs }) => atMs > nowMs);
    for (const { run } of due) run();
  };
  return {
    clock: { nowMs: () => nowMs, after },
    /** Nothing else runs meanwhile. */
    block: (ms: number) => {
      nowMs += ms;
    },
    turn,
    calm: (ms: number) => {
      for (let passed = 0; passed < ms; passed += 1) {
        nowMs += 1;
        turn();
      }
    },
  };
}

test('a block of 300 ms right after a scrape shows in the next one, whatever pings came between', () => {
  const loop = createLoop();
  const lag = createEventLoopLag(loop.clock);
  loop.calm(1_000);
  assert.equal([lag.scraped().maxMs < 1, lag.pinged() < 1], [true, true]);
  loop.block(300);
  loop.turn();
  for (let ping = 0; ping < 3; ping += 1) {
    lag.pinged();
    loop.calm(1_000);
  }
  const { maxMs } = lag.scraped();
  assert.ok(maxMs >= 250 && maxMs <= 301, `${maxMs} ms`);
  loop.calm(1_000);
  assert.ok(lag.scraped().maxMs < 1, 'and in no other one');
});

test('a scrape that is answered before the late timer has its turn shows it too', () => {
  const loop = createLoop();
  const lag = createEventLoopLag(loop.clock);
  loop.block(300);
  assert.ok(lag.scraped().maxMs >= 250);
});

test('a scrape takes nothing from the pings', () => {
  const loop = createLoop();
  const lag = createEventLoopLag(loop.clock);
  loop.block(300);
  loop.turn();
  lag.scraped();
  assert.ok(lag.pinged() >= 250);
  assert.is(lag.pinged(), 0);
});

test.run();
