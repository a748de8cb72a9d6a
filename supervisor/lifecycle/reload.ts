// A reload as systemd sees it: RELOADING=1 at the signal, READY=1 when nothing of it is left to do. Signals close together are
// one reload: systemd 253 and newer sends SIGHUP by itself (`Type=notify-reload`) and runs `ExecReload=` as well, which older ones
// need.

import type { Clock } from '../../shared/time/clock.ts';
import { createQuietPeriod } from '../custody/watch-directories.ts';

export type ReloadDeps = {
  readonly clock: Pick<Clock, 'nowMs' | 'after'>;
  /** Tells systemd that a reload has begun. */
  readonly reloading: () => void;
  /** Tells systemd that it is over. */
  readonly ready: () => void;
  /** Begins it; the configuration is read after the last of its signals. */
  readonly begin: () => void;
};

export type Reload = {
  readonly signal: () => void;
  /** @param isOver  the life cycle has no reload left to do */
  readonly facts: (isOver: boolean) => void;
};

export function createReload(deps: ReloadDeps): Reload {
  let isTold = false;
  let isGathering = false;
  const gathered = createQuietPeriod(deps.clock, () => {
    isGathering = false;
    deps.begin();
  });
  return {
    signal: () => {
      isTold = true;
      isGathering = true;
      deps.reloading();
      gathered();
    },
    facts: (isOver) => {
      if (!isTold || isGathering || !isOver) return;
      isTold = false;
      deps.ready();
    },
  };
}
