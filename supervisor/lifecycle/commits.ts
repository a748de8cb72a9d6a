// In which order and how fast proposals are decided: a plugin that commits all the time must not wear out the disk, nor keep its
// replacement from becoming the incumbent. What comes too fast waits; nothing is refused for its speed.

import type { Cancel, Clock } from '../../shared/time/clock.ts';

const maxBurst = 5; // control: commits.burst
const refillMs = 1_000; // control: commits.refill

export type Commits = {
  /** Decides it when its turn comes. */
  readonly add: (decide: () => void) => void;
  /** Whether none is decided for now: a hand-over is under way. What waits goes on in its order afterwards. */
  readonly hold: (isHeld: boolean) => void;
};

/** One a second, five at once after a pause. */
export function createCommits(clock: Pick<Clock, 'nowMs' | 'after'>): Commits {
  const waiting: (() => void)[] = [];
  let isHeld = false;
  let tokens = maxBurst;
  let filledAtMs = clock.nowMs();
  let cancel: Cancel | undefined;
  const refill = () => {
    const added = Math.floor((clock.nowMs() - filledAtMs) / refillMs);
    tokens = Math.min(maxBurst, tokens + added);
    filledAtMs = tokens === maxBurst ? clock.nowMs() : filledAtMs + added * refillMs;
  };
  const go = () => {
    cancel?.();
    cancel = undefined;
    while (!isHeld && waiting.length > 0) {
      refill();
      if (tokens === 0) {
        cancel = clock.after(Math.max(1, filledAtMs + refillMs - clock.nowMs()), go);
        return;
      }
      tokens -= 1;
      waiting.shift()?.();
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
