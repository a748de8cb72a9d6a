// A clock that moves when a test says so. Timers run in order; what they start is given its turn before the next one.

import type { Clock } from '../../shared/time/clock.ts';

export type FakeClock = Clock & {
  /** Moves both clocks and runs what became due. */
  readonly advance: (ms: number) => Promise<void>;
  /** Moves only the wall clock, in either direction. */
  readonly jumpWall: (ms: number) => void;
  /** Lets pending promises settle without moving. */
  readonly settle: () => Promise<void>;
  readonly timers: () => number;
};

type Timer = { readonly atMs: number; readonly run: () => void };

export function createFakeClock(wallStartMs = 1_750_000_000_000): FakeClock {
  let nowMs = 0;
  let wallMs = wallStartMs;
  const timers = new Set<Timer>();
  const settle = async () => {
    for (let turn = 0; turn < 30; turn += 1) await new Promise<void>((resolve) => setImmediate(resolve));
  };
  const nextDue = (untilMs: number) =>
    [...timers].filter(({ atMs }) => atMs <= untilMs).sort((one, other) => one.atMs - other.atMs)[0];
  return {
    nowMs: () => nowMs,
    wallMs: () => wallMs,
    after: (ms, run) => {
      const timer = { atMs: nowMs + ms, run };
      timers.add(timer);
      return () => void timers.delete(timer);
    },
    advance: async (ms) => {
      const untilMs = nowMs + ms;
      await settle();
      for (let timer = nextDue(untilMs); timer !== undefined; timer = nextDue(untilMs)) {
        timers.delete(timer);
        wallMs += Math.max(0, timer.atMs - nowMs);
        nowMs = Math.max(nowMs, timer.atMs);
        timer.run();
        await settle();
      }
      wallMs += untilMs - nowMs;
      nowMs = untilMs;
      await settle();
    },
    jumpWall: (ms) => {
      wallMs += ms;
    },
    settle,
    timers: () => timers.size,
  };
}
