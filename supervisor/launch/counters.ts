// What the supervisor counts for its life; the plugin exports it.

import type { Counters, CredentialName } from '../../shared/channel/messages.ts';
import type { Log } from '../../shared/log/fields.ts';
import type { Clock } from '../../shared/time/clock.ts';
import type { FileNews } from '../custody/credentials.ts';

export function emptyCounters(startedAtUnixMs: number): Counters {
  return {
    restarts: {},
    gateRefusals: {},
    credentialRefusals: {},
    staleSockets: 0,
    checkpointsRecreated: 0,
    socketLost: false,
    directoriesGone: [],
    portsTaken: [],
    filesRefused: [],
    supervisorStartedAtUnixMs: startedAtUnixMs,
  };
}

const repeatMs = 60_000;

/**
 * News of credential files for counters and log; the same again is said at most once a minute.
 *
 * @param changed  what the plugin is told of has changed
 */
export function countCredentialFiles(
  counters: Counters,
  log: Log,
  clock: Pick<Clock, 'nowMs' | 'wallMs'>,
  changed: () => void,
): FileNews {
  const saidAtMs = new Map<string, number>();
  const others = (name: CredentialName) => counters.filesRefused.filter((one) => one.name !== name);
  return {
    refused: (name, reason, hint) => {
      const key = `${name} ${reason}`;
      counters.credentialRefusals[key] = (counters.credentialRefusals[key] ?? 0) + 1;
      const known = counters.filesRefused.find((one) => one.name === name);
      const sinceUnixMs = known?.sinceUnixMs ?? Math.max(0, clock.wallMs());
      counters.filesRefused = [...others(name), { name, reason, sinceUnixMs }];
      changed();
      if (clock.nowMs() - (saidAtMs.get(key) ?? Number.NEGATIVE_INFINITY) < repeatMs) return;
      saidAtMs.set(key, clock.nowMs());
      log('warn', 'credential.refused', { name, reason, hint });
    },
    read: (name) => {
      if (!counters.filesRefused.some((one) => one.name === name)) return;
      counters.filesRefused = others(name);
      changed();
    },
  };
}
