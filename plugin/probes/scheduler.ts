// When probes run: the bootstrap loop first, then metadata every probeInterval and deep every deepProbeInterval, one after the
// other, missed ticks dropped. A failed probe is tried again sooner (pace.ts), and calls bring one forward. The first tick comes
// after a random part of the interval, so that nodes started together do not probe together.

import { ProviderError } from '../../shared/errors/error.ts';
import type { Clock } from '../../shared/time/clock.ts';
import { pause } from '../../shared/time/deadline.ts';
import type { StatusCache } from '../health/status-cache.ts';
import { dueAtMs } from './pace.ts';
import type { ProbeKind, Trigger } from './probe-event.ts';
import type { Probes } from './probes.ts';

export type SchedulerDeps = {
  readonly clock: Clock;
  readonly random: () => number;
  readonly probes: Pick<Probes, 'metadata' | 'deep' | 'isDeepDue' | 'isTooOld' | 'paceOf'>;
  readonly cache: StatusCache;
  readonly settings: {
    readonly graceTimeoutMs: number;
    readonly retryIntervalMs: number;
    readonly probeIntervalMs: number;
    readonly deepProbeIntervalMs: number;
  };
};

export type Scheduler = {
  /** Runs until the signal ends; never throws. */
  readonly run: (signal: AbortSignal) => Promise<void>;
  /** Brings a probe forward, to 5 s after the begin of the last one of its kind at the earliest. */
  readonly want: (kind: ProbeKind) => void;
  /** A probe was made that is not of this schedule: when the next one is due may have changed. */
  readonly replan: () => void;
  /** Monotonic; undefined while nothing is planned. */
  readonly nextProbeAtMs: () => number | undefined;
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

export function createScheduler(deps: SchedulerDeps): Scheduler {
  return new Schedule(deps);
}

/** The next moment of the grid of each kind. */
type Ticks = Record<ProbeKind, number>;
type Need = 'schedule' | 'call' | 'none';

class Schedule implements Scheduler {
  readonly #deps: SchedulerDeps;
  /** Undefined until the bootstrap loop is over. */
  #ticks: Ticks | undefined;
  #bootstrapAtMs: number | undefined;
  readonly #wanted = new Set<ProbeKind>();
  #wake: () => void = () => {};

  constructor(deps: SchedulerDeps) {
    this.#deps = deps;
  }

  run = async (signal: AbortSignal): Promise<void> => {
    await this.#runBootstrap(signal);
    if (!signal.aborted) await this.#runTicks(signal);
  };

  want = (kind: ProbeKind): void => {
    this.#wanted.add(kind);
    this.#wake();
  };

  replan = (): void => this.#wake();

  nextProbeAtMs = (): number | undefined => {
    const ticks = this.#ticks;
    const atMs =
      ticks === undefined
        ? this.#bootstrapAtMs
        : Math.min(this.#dueAtMs('metadata', ticks), this.#dueAtMs('deep', ticks));
    return atMs === undefined ? undefined : Math.max(atMs, this.#deps.clock.nowMs());
  };

  async #runBootstrap(signal: AbortSignal): Promise<void> {
    const { clock, cache, settings } = this.#deps;
    const deadlineMs = clock.nowMs() + settings.graceTimeoutMs;
    while (!signal.aborted) {
      this.#bootstrapAtMs = clock.nowMs();
      const isGood =
        (await this.#try('metadata', 'bootstrap', signal)) && (await this.#try('deep', 'bootstrap', signal));
      const remainingMs = deadlineMs - clock.nowMs();
      const isBlocked = cache.verdict().reasons.includes('encryption_blocked');
      if (isGood || isBlocked || remainingMs <= 0) return;
      const waitMs = Math.min(settings.retryIntervalMs, remainingMs);
      this.#bootstrapAtMs = clock.nowMs() + waitMs;
      await pause(clock, waitMs, signal);
    }
  }

  async #runTicks(signal: AbortSignal): Promise<void> {
    const { clock, settings, probes, random } = this.#deps;
    const startMs = clock.nowMs();
    const ticks = {
      metadata: startMs + settings.probeIntervalMs * random(),
      deep: startMs + settings.deepProbeIntervalMs,
    };
    this.#ticks = ticks;
    while (!signal.aborted) {
      const [metadata, deep] = [this.#needOf('metadata', ticks), this.#needOf('deep', ticks)];
      const isGood = metadata !== 'none' && (await this.#probe('metadata', metadata, ticks, signal));
      const isNewsWanted = isGood && probes.isDeepDue();
      const isDeepNow = deep !== 'none' || isNewsWanted;
      if (isDeepNow) await this.#probe('deep', isNewsWanted ? 'schedule' : deep, ticks, signal);
      if (metadata === 'none' && !isDeepNow) await this.#sleep(ticks, signal);
    }
  }

  /** One that is due anyway is not brought forward. */
  #needOf(kind: ProbeKind, ticks: Ticks): Need {
    const { clock, probes } = this.#deps;
    const nowMs = clock.nowMs();
    if (nowMs >= dueAtMs(probes.paceOf(kind), ticks[kind], false)) return 'schedule';
    return nowMs >= this.#dueAtMs(kind, ticks) ? 'call' : 'none';
  }

  /** What is wanted while it runs is wanted of the next one. */
  async #probe(kind: ProbeKind, need: Need, ticks: Ticks, signal: AbortSignal): Promise<boolean> {
    if (signal.aborted) return false;
    const { clock, settings } = this.#deps;
    this.#wanted.delete(kind);
    const isGood = await this.#try(kind, need === 'call' ? 'call' : 'schedule', signal);
    const intervalMs = kind === 'metadata' ? settings.probeIntervalMs : settings.deepProbeIntervalMs;
    const nowMs = clock.nowMs();
    if (nowMs >= ticks[kind]) ticks[kind] = nextTick(ticks[kind], intervalMs, nowMs);
    return isGood;
  }

  /** Waiting for its turn ends with the signal, by throwing. */
  #try(kind: ProbeKind, trigger: Trigger, signal: AbortSignal): Promise<boolean> {
    return this.#deps.probes[kind](trigger, signal).catch(() => false);
  }

  #dueAtMs(kind: ProbeKind, ticks: Ticks): number {
    const isWanted = this.#wanted.has(kind) || this.#deps.probes.isTooOld(kind);
    return dueAtMs(this.#deps.probes.paceOf(kind), ticks[kind], isWanted);
  }

  async #sleep(ticks: Ticks, signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    const atMs = Math.min(this.#dueAtMs('metadata', ticks), this.#dueAtMs('deep', ticks));
    // A wall clock that is set forward, or a machine that slept, ages evidence without an event.
    const waitMs = Math.min(atMs - clock.nowMs(), longestSleepMs);
    await pause(clock, waitMs, signal, (wake) => {
      this.#wake = wake;
    });
  }
}

const longestSleepMs = 5_000;

/** The first tick of the grid that lies ahead. */
function nextTick(lastMs: number, intervalMs: number, nowMs: number): number {
  return lastMs + intervalMs * Math.max(1, Math.ceil((nowMs - lastMs) / intervalMs));
}

/** Why background work ends when the provider stops. */
export function stopping(): ProviderError {
  return new ProviderError('canceled', 'the provider is stopping');
}
