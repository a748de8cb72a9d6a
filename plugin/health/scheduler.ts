// When probes run: the bootstrap loop first, then metadata every probeInterval and deep every deepProbeInterval, one after
// the other, missed ticks dropped. The first tick comes after a random part of the interval, so that nodes started
// together do not probe together (status-and-probes 7, 8).

import { ProviderError } from '../../shared/errors/error.ts';
import type { Clock } from '../../shared/time/clock.ts';
import type { Probes } from './probes.ts';
import type { StatusCache } from './status-cache.ts';

export type SchedulerDeps = {
  readonly clock: Clock;
  readonly random: () => number;
  readonly probes: Pick<Probes, 'metadata' | 'deep' | 'isDeepDue'>;
  readonly cache: StatusCache;
  readonly settings: {
    readonly graceTimeoutMs: number;
    readonly retryIntervalMs: number;
    readonly probeIntervalMs: number;
    readonly deepProbeIntervalMs: number;
  };
};

/**
 * Probes without proposing anything until both are good: a plugin that is to replace a healthy one opens its listeners only
 * then. Has no end of its own; the supervisor ends the plugin.
 */
export async function untilProvenHealthy(deps: SchedulerDeps, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const isGood =
      (await deps.probes.metadata('bootstrap', signal, 'check')) && (await deps.probes.deep('bootstrap', signal));
    if (isGood) return;
    await pause(deps.clock, deps.settings.retryIntervalMs, signal);
  }
}

/** Runs until the signal ends; never throws. */
export async function runScheduler(deps: SchedulerDeps, signal: AbortSignal): Promise<void> {
  await runBootstrap(deps, signal);
  if (signal.aborted) return;
  await runTicks(deps, signal);
}

async function runBootstrap(deps: SchedulerDeps, signal: AbortSignal): Promise<void> {
  const deadlineMs = deps.clock.nowMs() + deps.settings.graceTimeoutMs;
  while (!signal.aborted) {
    const isGood = (await deps.probes.metadata('bootstrap', signal)) && (await deps.probes.deep('bootstrap', signal));
    const remainingMs = deadlineMs - deps.clock.nowMs();
    const isBlocked = deps.cache.verdict().reasons.includes('encryption_blocked');
    if (isGood || isBlocked || remainingMs <= 0) return;
    await pause(deps.clock, Math.min(deps.settings.retryIntervalMs, remainingMs), signal);
  }
}

async function runTicks(deps: SchedulerDeps, signal: AbortSignal): Promise<void> {
  const { clock, settings, probes } = deps;
  const startMs = clock.nowMs();
  let nextMs = startMs + settings.probeIntervalMs * deps.random();
  let nextDeepMs = startMs + settings.deepProbeIntervalMs;
  while (!signal.aborted) {
    await pause(clock, nextMs - clock.nowMs(), signal);
    if (signal.aborted) return;
    const isGood = await probes.metadata('schedule', signal);
    const isDeepTick = clock.nowMs() >= nextDeepMs;
    if (isDeepTick || (isGood && probes.isDeepDue())) await probes.deep('schedule', signal);
    nextMs = nextTick(nextMs, settings.probeIntervalMs, clock.nowMs());
    if (isDeepTick) nextDeepMs = nextTick(nextDeepMs, settings.deepProbeIntervalMs, clock.nowMs());
  }
}

/** The first tick of the grid that lies ahead. */
function nextTick(lastMs: number, intervalMs: number, nowMs: number): number {
  return lastMs + intervalMs * Math.max(1, Math.ceil((nowMs - lastMs) / intervalMs));
}

function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = () => {
      cancel();
      signal.removeEventListener('abort', done);
      resolve();
    };
    const cancel = clock.after(Math.max(0, ms), done);
    signal.addEventListener('abort', done, { once: true });
  });
}

/** Why background work ends when the provider stops. */
export function stopping(): ProviderError {
  return new ProviderError('canceled', 'the provider is stopping');
}
