// How long the event loop was late, for two readers who must not take it from each other: whoever scrapes, and the supervisor's pings.
// A timer of our own: the runtime's monitor loses the first interval after each reset, and with it a block right after a scrape.

import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import type { Clock } from '../../shared/time/clock.ts';

const intervalMs = 20;

export type EventLoopLag = {
  /** Since the last scrape, milliseconds. */
  readonly scraped: () => { readonly p99Ms: number; readonly maxMs: number };
  /** The mean since the last ping, milliseconds. */
  readonly pinged: () => number;
};

/** Begins to measure. */
export function createEventLoopLag(clock: Pick<Clock, 'nowMs' | 'after'>): EventLoopLag {
  const [ofScrapes, ofPings] = [createHistogram(), createHistogram()];
  let dueAtMs = 0;
  const lateMs = () => Math.max(0, clock.nowMs() - dueAtMs);
  const tick = () => {
    dueAtMs = clock.nowMs() + intervalMs;
    clock.after(intervalMs, () => {
      for (const histogram of [ofScrapes, ofPings]) record(histogram, lateMs());
      tick();
    });
  };
  tick();
  return {
    scraped: () => {
      // What is late at this moment may be asked for before the timer has had its turn.
      if (lateMs() > 0) record(ofScrapes, lateMs()); // control: lag.still-late
      const { count, max } = ofScrapes;
      const lag = count === 0 ? { p99Ms: 0, maxMs: 0 } : { p99Ms: inMs(ofScrapes.percentile(99)), maxMs: inMs(max) };
      ofScrapes.reset();
      return lag;
    },
    pinged: () => {
      const meanMs = ofPings.count === 0 ? 0 : inMs(ofPings.mean);
      ofPings.reset();
      return meanMs;
    },
  };
}

/** A histogram takes whole numbers from 1 on; these are microseconds. */
function record(histogram: RecordableHistogram, ms: number): void {
  histogram.record(Math.max(1, Math.round(ms * 1_000)));
}

const inMs = (microseconds: number) => microseconds / 1_000;
