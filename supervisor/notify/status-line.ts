// The STATUS line of the unit: one line that tells the truth, from the supervisor's own state and the last health message.

import type { HealthMessage } from '../../shared/channel/messages.ts';

export type StatusFacts = {
  readonly health: HealthMessage | undefined;
  /** Undefined while no plugin runs. */
  readonly pluginPid: number | undefined;
  /** Why no plugin runs, if the gate refused it. */
  readonly refusedBy: string | undefined;
  /** Until the gate is tried again, while it refuses. */
  readonly nextTryMs: number | undefined;
  readonly relaunches: number;
  readonly version: string;
  readonly isSameUser: boolean;
};

const hashShown = 12;

/** As in `healthy; key f9uX3mQkz0aB v12; plugin 812; relaunches 0; 1.4.0`. */
export function statusLine(facts: StatusFacts): string {
  const { health, pluginPid } = facts;
  const key =
    health?.keyIdHash === undefined
      ? []
      : [`key ${health.keyIdHash.slice(0, hashShown)} v${health.transitKeyVersion ?? 0}`];
  const plugin = pluginPid === undefined ? [] : [`plugin ${pluginPid}`];
  const privilege = facts.isSameUser ? ['privilege same-user'] : [];
  return [verdict(facts), ...key, ...plugin, `relaunches ${facts.relaunches}`, ...privilege, facts.version].join('; ');
}

function verdict({ health, pluginPid, refusedBy, nextTryMs }: StatusFacts): string {
  if (refusedBy !== undefined) {
    const next = nextTryMs === undefined ? '' : `, next try in ${Math.ceil(nextTryMs / 1000)} s`;
    return `no plugin: ${refusedBy} refused${next}`;
  }
  if (pluginPid === undefined) return 'no plugin';
  if (health === undefined) return 'plugin starting';
  if (health.healthz === 'ok')
    return health.reasons.length === 0 ? 'healthy' : `healthy, but ${health.reasons.join(', ')}`;
  const classes = health.errorClasses.length === 0 ? '' : ` (${health.errorClasses.join(', ')})`;
  return `unhealthy: ${health.reasons.join(', ')}${classes}`;
}

/** The last line of a start that was refused: the cause first. */
export function refusalLine({ check, reason, hint }: { check: string; reason: string; hint: string }): string {
  return `start refused: ${check} (${reason}): ${hint}`;
}

/** The last line of a process that makes room for a new start. */
export function departureLine(reason: string): string {
  return `ending for a new start: ${reason}`;
}
