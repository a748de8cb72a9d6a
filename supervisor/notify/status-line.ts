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

/** As in `healthy; last Status call 12 s ago, Encrypt 3 min ago; key f9uX3mQkz0aB v12; plugin 812; relaunches 0; 1.4.0`. */
export function statusLine(facts: StatusFacts, nowUnixMs: number): string {
  const { health, pluginPid } = facts;
  const key =
    health?.keyIdHash === undefined
      ? []
      : [`key ${health.keyIdHash.slice(0, hashShown)} v${health.transitKeyVersion ?? 0}`];
  const plugin = pluginPid === undefined ? [] : [`plugin ${pluginPid}`];
  const privilege = facts.isSameUser ? ['privilege same-user'] : [];
  const warnings =
    (health?.warnings ?? []).length === 0 ? [] : [`warning: ${health?.warnings?.map(warningText).join(', ')}`];
  const parts = [verdict(facts, nowUnixMs), ...warnings, ...callsOf(health, nowUnixMs), ...key, ...plugin];
  return [...parts, `relaunches ${facts.relaunches}`, ...privilege, facts.version].join('; ');
}

function verdict({ health, pluginPid, refusedBy, nextTryMs }: StatusFacts, nowUnixMs: number): string {
  if (refusedBy !== undefined) {
    const next = nextTryMs === undefined ? '' : `, next try in ${Math.ceil(nextTryMs / 1000)} s`;
    return `no plugin: ${refusedBy} refused${next}`;
  }
  if (pluginPid === undefined) return 'no plugin';
  if (health === undefined) return 'plugin starting';
  const reasons = health.reasons.join(', ');
  const why = `${reasons}${causeOf(health, nowUnixMs)}`;
  if (health.healthz === 'ok') return why === '' ? 'healthy' : `healthy, but ${why}`;
  return `unhealthy: ${why}`;
}

/** As in `credential_refused jwt (auth_failed: audience)`: words that change only when what they say does. */
function warningText({ warning, name, class: errorClass, detail }: Warning): string {
  const words = name === undefined ? warning : `${warning} ${name}`;
  const why = [errorClass, detail].filter((word) => word !== undefined).join(': ');
  return why === '' ? words : `${words} (${why})`;
}

type Warning = NonNullable<HealthMessage['warnings']>[number];

/** As in ` (permission_denied: missing_decrypt) for 95 s`; a class that came after it is named too. */
function causeOf({ cause, errorClasses }: HealthMessage, nowUnixMs: number): string {
  if (cause === undefined) return errorClasses.length === 0 ? '' : ` (${errorClasses.join(', ')})`;
  const what = cause.detail ?? cause.finding;
  const later = errorClasses.filter((errorClass) => errorClass !== cause.class);
  const words = [what === undefined ? cause.class : `${cause.class}: ${what}`, ...new Set(later)].join(', ');
  return ` (${words}) for ${duration(nowUnixMs - cause.sinceUnixMs)}`;
}

const methods = [
  ['Status', 'statusUnixMs'],
  ['Encrypt', 'encryptUnixMs'],
  ['Decrypt', 'decryptUnixMs'],
] as const;

/** Nobody asks for Status through a wrong path or without the right group, and it shows nowhere else. */
function callsOf(health: HealthMessage | undefined, nowUnixMs: number): readonly string[] {
  const calls = health?.lastCalls;
  if (calls === undefined) return [];
  const told = methods.flatMap(([name, member]) => {
    const atMs = calls[member];
    return atMs === undefined ? [] : [`${name} ${duration(nowUnixMs - atMs)} ago`];
  });
  const [first, ...rest] = told;
  if (calls.statusUnixMs === undefined) return [['no Status call yet', ...told].join(', ')];
  return [[first?.replace('Status', 'last Status call'), ...rest].join(', ')];
}

/** Whole units, the largest that fits; never negative. */
function duration(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7_200) return `${Math.floor(seconds / 60)} min`;
  return `${Math.floor(seconds / 3600)} h`;
}

/** The last line of a start that was refused: the cause first. */
export function refusalLine({ check, reason, hint }: { check: string; reason: string; hint: string }): string {
  return `start refused: ${check} (${reason}): ${hint}`;
}

/** The last line of a process that makes room for a new start. */
export function departureLine(reason: string): string {
  return `ending for a new start: ${reason}`;
}
