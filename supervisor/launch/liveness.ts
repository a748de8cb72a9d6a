// The liveness question: a ping every 2 s; a plugin that left one unanswered for 10 s hangs. Time in which the supervisor
// itself was late does not count.

import type { Cancel, Clock } from '../../shared/time/clock.ts';

const pingMs = 2_000;
const hungMs = 10_000;

export type Liveness = { readonly pong: (id: number) => void; readonly stop: Cancel };

export function watchLiveness(clock: Clock, ping: (id: number) => void, hung: () => void): Liveness {
  let id = 0;
  let waitedMs = 0;
  let cancel: Cancel = () => {};
  let lastTickMs = clock.nowMs();
  const tick = () => {
    const nowMs = clock.nowMs();
    waitedMs += Math.min(nowMs - lastTickMs, pingMs);
    lastTickMs = nowMs;
    if (waitedMs >= hungMs + pingMs) return hung();
    id += 1;
    ping(id);
    cancel = clock.after(pingMs, tick);
  };
  cancel = clock.after(pingMs, tick);
  return {
    pong: (answered) => {
      if (answered === id) waitedMs = 0; // control: liveness.answered
    },
    stop: () => cancel(),
  };
}
