// Who calls us: when each method was last called. A wrong socket path or group on the API server's side shows nowhere else.

import type { Clock } from '../../shared/time/clock.ts';

export const calledMethods = ['status', 'encrypt', 'decrypt'] as const;
export type CalledMethod = (typeof calledMethods)[number];

/** An API server asks once a minute while all is well, every 10 s while it is not. */
const statusSilenceMs = 180_000;

export type LastCalls = {
  readonly called: (method: CalledMethod) => void;
  /** Unix milliseconds; a method that was never called is left out. */
  readonly times: () => Readonly<Partial<Record<CalledMethod, number>>>;
  /** No Status for three minutes, counted from the opening of the socket by this plugin. */
  readonly isStatusSilent: () => boolean;
  /** The socket is open: callers are expected from now on. */
  readonly opened: () => void;
};

export function createLastCalls(clock: Pick<Clock, 'nowMs' | 'wallMs'>): LastCalls {
  const times: Partial<Record<CalledMethod, number>> = {};
  let silentSinceMs = Number.POSITIVE_INFINITY;
  return {
    called: (method) => {
      times[method] = clock.wallMs();
      if (method === 'status') silentSinceMs = clock.nowMs();
    },
    times: () => times,
    isStatusSilent: () => clock.nowMs() - silentSinceMs > statusSilenceMs,
    opened: () => {
      silentSinceMs = clock.nowMs();
    },
  };
}
