// When the service counts as started: at the first healthy word, or when the grace is over and a plugin has spoken. Once.

import type { HealthMessage } from '../../shared/channel/messages.ts';
import type { Log } from '../../shared/log/fields.ts';
import type { Clock } from '../../shared/time/clock.ts';

export type Readiness = {
  /** The listeners are bound: the grace begins. */
  readonly begin: (graceMs: number) => void;
  readonly health: (health: HealthMessage | undefined) => void;
};

export function createReadiness(clock: Pick<Clock, 'after'>, log: Log, ready: () => void): Readiness {
  let hasSpoken = false;
  let isGraceOver = false;
  let isDone = false;
  let last: HealthMessage | undefined;
  const settle = () => {
    const isReady = last?.healthz === 'ok' || (isGraceOver && hasSpoken);
    if (isDone || !isReady) return;
    isDone = true;
    ready();
    log('info', 'serve.ready', { healthz: last?.healthz, reason: last?.reasons.join(',') || undefined });
  };
  return {
    begin: (graceMs) =>
      void clock.after(graceMs, () => {
        isGraceOver = true;
        settle();
      }),
    health: (health) => {
      last = health;
      hasSpoken ||= health !== undefined;
      settle();
    },
  };
}
