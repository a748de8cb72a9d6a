// What a client was refused because it wanted more than its share: counted always, told in the log at most once a minute.

import type { Log } from '../../shared/log/fields.ts';
import type { Clock } from '../../shared/time/clock.ts';
import { createSpacing } from '../../shared/time/spacing.ts';
import { socketBounds } from '../kms/bounds.ts';
import type { Metrics } from './metrics.ts';

/** Of the ports of the diagnostics. */
const diagnosticsBounds = [
  'diagnostics_connections',
  'diagnostics_time',
  'diagnostics_head',
  'diagnostics_pipelining',
] as const;
/** As the metric and the log call them; docs/operations.md says what each one is. */
export const boundNames = [...socketBounds, ...diagnosticsBounds] as const;
export type BoundName = (typeof boundNames)[number];

/** Somebody reached a bound and was refused for it. */
export type Reached = (bound: BoundName) => void;

const toldEveryMs = 60_000;
const hint = 'a client wanted more than its share and was refused; see "When a bound is reached" in docs/operations.md';

/** @returns what to call each time; the first call about a bound is told at once */
export function createBounds(log: Log, metrics: Metrics, clock: Pick<Clock, 'nowMs'>): Reached {
  const isTold = new Map(boundNames.map((name) => [name, createSpacing(clock, toldEveryMs)]));
  const untold = new Map<BoundName, number>();
  return (name) => {
    metrics.count('bound_reached_total', { bound: name });
    if (isTold.get(name)?.() !== true) return void untold.set(name, (untold.get(name) ?? 0) + 1);
    const suppressed = untold.get(name);
    untold.delete(name);
    log('warn', 'bound.reached', { name, hint, suppressed });
  };
}
