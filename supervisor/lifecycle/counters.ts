// What the supervisor counts for its life; the plugin exports it.

import type { Counters } from '../../shared/channel/messages.ts';
import type { Log } from '../../shared/log/fields.ts';

export function emptyCounters(startedAtUnixMs: number): Counters {
  return {
    restarts: {},
    gateRefusals: {},
    credentialRefusals: {},
    staleSockets: 0,
    checkpointsRecreated: 0,
    socketLost: false,
    directoriesGone: [],
    supervisorStartedAtUnixMs: startedAtUnixMs,
  };
}

const repeatMs = 60_000;

/** Told of each credential file that could not be read safely, and why; the same again is said at most once a minute. */
export function countCredentialRefusals(
  counters: Counters,
  log: Log,
  nowMs: () => number,
): (name: string, reason: string, hint: string) => void {
  const saidAtMs = new Map<string, number>();
  return (name, reason, hint) => {
    const key = `${name} ${reason}`;
    counters.credentialRefusals[key] = (counters.credentialRefusals[key] ?? 0) + 1;
    if (nowMs() - (saidAtMs.get(key) ?? Number.NEGATIVE_INFINITY) < repeatMs) return;
    saidAtMs.set(key, nowMs());
    log('warn', 'credential.refused', { name, reason, hint });
  };
}
