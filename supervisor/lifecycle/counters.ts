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

/** Told of each credential file that could not be read safely, and why. */
export function countCredentialRefusals(counters: Counters, log: Log): (name: string, reason: string) => void {
  return (name, reason) => {
    const key = `${name} ${reason}`;
    counters.credentialRefusals[key] = (counters.credentialRefusals[key] ?? 0) + 1;
    log('warn', 'credential.refused', { name, reason });
  };
}
