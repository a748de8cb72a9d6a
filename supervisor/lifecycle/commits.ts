// In which order and how fast proposals are decided: a plugin that commits all the time must not wear out the disk, nor keep its
// replacement from becoming the incumbent. What comes too fast waits; nothing is refused for its speed.

import type { Cancel, Clock } from '../../shared/time/clock.ts';

const maxBurst = 5; // control: commits.burst
const refillMs = 1_000; // control: commits.refill
/** A decision that takes longer than this is costly: of a large state, or on a slow disk. */
const quickMs = 100;
/** After a costly one nothing is decided for so many times as long: the rest of the supervisor's work comes first. */
const restFactor = 4;

export type Commits = {
  /** Decides it when its turn comes; a promise says when that is done. */
  readonly add: (decide: () => unknown) => void;
  /** Whether none is decided for now: a hand-over is under way. What waits goes on in its order afterwards. */
  readonly hold: (isHeld: boolean) => void;
};

/** One a second, five at once after a pause; slower where one takes long. */
export function createCommits(clock: Pick<Clock, 'nowMs' | 'after'>): Commits {
  const waiting: (() => unknown)[] = [];
  let isHeld = false;
  let tokens = maxBurst;
  let filledAtMs = clock.nowMs();
  let cancel: Cancel | undefined;
  const refill = () => {
    const added = Math.floor((clock.nowMs() - filledAtMs) / refillMs);
    tokens = Math.min(maxBurst, tokens + added);
    filledAtMs = tokens === maxBurst ? clock.nowMs() : filledAtMs + added * refillMs;
  };
  let isDeciding = false;
  let restsUntilMs = Number.NEGATIVE_INFINITY;
  const begin = async (decide: (() => unknown) | undefined) => {
    const fromMs = clock.nowMs();
    try {
      const done = decide?.();
      if (!(done instanceof Promise)) return;
      isDeciding = true;
      await done;
    } catch {
      // Whoever decides says what failed. The next one is decided all the same.
    }
    isDeciding = false;
    const spentMs = clock.nowMs() - fromMs;
    if (spentMs > quickMs) restsUntilMs = clock.nowMs() + restFactor * spentMs; // control: commits.rest
    go();
  };
  const go = () => {
    cancel?.();
    cancel = undefined;
    while (!isHeld && !isDeciding && waiting.length > 0) {
      refill();
      const nowMs = clock.nowMs();
      const waitMs = Math.max(restsUntilMs - nowMs, tokens === 0 ? Math.max(1, filledAtMs + refillMs - nowMs) : 0);
      if (waitMs > 0) {
        cancel = clock.after(waitMs, go);
        return;
      }
      tokens -= 1;
      void begin(waiting.shift());
    }
  };
  return {
    add: (decide) => {
      waiting.push(decide);
      go();
    },
    hold: (next) => {
      isHeld = next; // control: commits.hold
      go();
    },
  };
}
