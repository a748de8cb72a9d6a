// An unknown key_id on Decrypt may be a version that a peer promoted first: one shared metadata read, at most two in a
// probe interval, never more waiters than eight (spec/rotation 4.1).

import { ProviderError } from '../../shared/errors/error.ts';
import type { Snapshot } from '../../shared/registry/state.ts';
import type { Clock } from '../../shared/time/clock.ts';
import { untilAborted, withDeadline } from '../../shared/time/deadline.ts';
import type { StatusCache } from '../health/status-cache.ts';
import type { Probes } from './probes.ts';

export type DiscoveryDeps = {
  readonly clock: Clock;
  readonly cache: Pick<StatusCache, 'lookUp' | 'isRecorded' | 'state'>;
  readonly probes: Pick<Probes, 'metadataAlone' | 'turn'>;
  readonly settings: { readonly probeIntervalMs: number; readonly timeoutMs: number };
  /** Ends with the process. */
  readonly stopped: AbortSignal;
};

export type Discovery = {
  /**
   * @returns the record, or undefined when the metadata was read and does not know it
   * @throws ProviderError `key_metadata_refresh_failed`, `timeout`, or the signal's reason
   */
  readonly find: (keyId: string, signal: AbortSignal) => Promise<Snapshot | undefined>;
  /** A scheduled metadata probe succeeded: what an earlier attempt found out is old. */
  readonly forget: () => void;
};

const maxWaiters = 8;
const attemptsPerInterval = 2;

type Outcome = 'read' | 'failed' | 'timed_out';

export function createDiscovery(deps: DiscoveryDeps): Discovery {
  let attempts: number[] = [];
  let stored: Outcome | undefined;
  let running: Promise<void> | undefined;
  let waiters = 0;

  const isAllowed = () => {
    const sinceMs = deps.clock.nowMs() - deps.settings.probeIntervalMs;
    attempts = attempts.filter((atMs) => atMs > sinceMs);
    return stored === undefined ? attempts.length < attemptsPerInterval : attempts.length === 0;
  };
  const attempt = async () => {
    attempts.push(deps.clock.nowMs());
    let isLate = false;
    const late = () => {
      isLate = true;
      return new ProviderError('timeout', 'the discovery took too long');
    };
    const limits = { timeoutMs: deps.settings.timeoutMs, signal: deps.stopped };
    const isRead = await withDeadline(limits, late, deps.clock, (signal) =>
      deps.probes.metadataAlone('discovery', signal, 'discover'),
    );
    stored = isRead ? 'read' : isLate ? 'timed_out' : 'failed';
  };
  const run = async (keyId: string) => {
    await deps.probes.turn.take(async () => {
      const isNeedless = deps.cache.lookUp(keyId) !== undefined || deps.cache.state === undefined;
      if (!isNeedless && isAllowed()) await attempt();
    }, deps.stopped);
  };
  const join = (keyId: string) => {
    running ??= run(keyId)
      .catch(() => undefined)
      .finally(() => {
        running = undefined;
      });
    return running;
  };
  const find = async (keyId: string, signal: AbortSignal) => {
    if (deps.cache.state === undefined) throw refreshFailed();
    if (deps.cache.isRecorded(keyId)) return undefined;
    if (running === undefined && !isAllowed()) return afterwards(deps, keyId, stored);
    if (waiters >= maxWaiters) throw refreshFailed(); // control: discovery.max-waiters
    const isInitiator = running === undefined;
    waiters += 1;
    try {
      await untilAborted(join(keyId), signal);
    } finally {
      waiters -= 1;
    }
    if (isInitiator && stored === 'timed_out' && deps.cache.lookUp(keyId) === undefined) {
      throw new ProviderError('timeout', 'the discovery took too long');
    }
    return afterwards(deps, keyId, stored);
  };
  return {
    find,
    forget: () => {
      stored = undefined;
    },
  };
}

function afterwards(deps: DiscoveryDeps, keyId: string, outcome: Outcome | undefined): Snapshot | undefined {
  const found = deps.cache.lookUp(keyId);
  if (found !== undefined) return found;
  if (outcome === 'read') return undefined;
  throw refreshFailed();
}

function refreshFailed(): ProviderError {
  return new ProviderError('key_metadata_refresh_failed', 'key metadata refresh failed');
}
