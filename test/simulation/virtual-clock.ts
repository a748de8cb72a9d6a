// Time for thousands of timers: a heap, and one turn of the event loop after each timer so that promises settle. Nothing sleeps.

import type { Clock } from '../../shared/time/clock.ts';

type Timer = { readonly atMs: number; readonly order: number; run: (() => void) | undefined };

export type VirtualClock = Clock & {
  /** Runs everything that is due up to a moment. */
  readonly runUntil: (untilMs: number) => Promise<void>;
};

const wallStartMs = 1_760_000_000_000;

export function createVirtualClock(): VirtualClock {
  const heap: Timer[] = [];
  let nowMs = 0;
  let order = 0;
  const isBefore = (one: Timer, other: Timer) =>
    one.atMs < other.atMs || (one.atMs === other.atMs && one.order < other.order);
  const swap = (one: number, other: number) => {
    const [a, b] = [heap[one], heap[other]];
    if (a === undefined || b === undefined) return;
    heap[one] = b;
    heap[other] = a;
  };
  const push = (timer: Timer) => {
    heap.push(timer);
    for (let at = heap.length - 1; at > 0; ) {
      const parent = (at - 1) >> 1;
      const [child, above] = [heap[at], heap[parent]];
      if (child === undefined || above === undefined || !isBefore(child, above)) return;
      swap(at, parent);
      at = parent;
    }
  };
  const pop = (): Timer | undefined => {
    const [first] = heap;
    const last = heap.pop();
    if (first === undefined || last === undefined || heap.length === 0) return first;
    heap[0] = last;
    for (let at = 0; ; ) {
      const [left, right] = [2 * at + 1, 2 * at + 2];
      let least = at;
      for (const child of [left, right]) {
        const [a, b] = [heap[child], heap[least]];
        if (a !== undefined && b !== undefined && isBefore(a, b)) least = child;
      }
      if (least === at) return first;
      swap(at, least);
      at = least;
    }
  };
  const settle = () => new Promise<void>((resolve) => setImmediate(resolve));
  return {
    nowMs: () => nowMs,
    wallMs: () => wallStartMs + nowMs,
    after: (ms, run) => {
      order += 1;
      const timer: Timer = { atMs: nowMs + Math.max(0, ms), order, run };
      push(timer);
      return () => {
        timer.run = undefined;
      };
    },
    runUntil: async (untilMs) => {
      await settle();
      for (let first = heap[0]; first !== undefined && first.atMs <= untilMs; first = heap[0]) {
        pop();
        if (first.run === undefined) continue;
        nowMs = Math.max(nowMs, first.atMs);
        first.run();
        await settle();
      }
      nowMs = untilMs;
    },
  };
}
