// For how long something may go on, fair to both sides: time in which this process itself was late does not count.

import type { Cancel, Clock } from '../../shared/time/clock.ts';

/** Time is looked at in steps; a step that comes much too late says that we were stopped. */
const stepMs = 1_000;

export type Patience = {
  /** It goes on; the time runs from the first call. */
  readonly begin: () => void;
  /** It is over. */
  readonly end: () => void;
};

/** @param over  called once for each time that it went on for too long */
export function createPatience(clock: Pick<Clock, 'nowMs' | 'after'>, limitMs: number, over: () => void): Patience {
  let waitedMs = 0;
  let cancel: Cancel | undefined;
  const step = () => {
    const fromMs = clock.nowMs();
    cancel = clock.after(stepMs, () => {
      waitedMs += Math.min(clock.nowMs() - fromMs, stepMs);
      if (waitedMs < limitMs) return step();
      cancel = undefined;
      over();
    });
  };
  return {
    begin: () => {
      if (cancel !== undefined) return;
      waitedMs = 0;
      step();
    },
    end: () => {
      cancel?.();
      cancel = undefined;
    },
  };
}
