// Tells the supervisor when health changed, and only then: right after each probe, and twice a second for what ages by itself. The
// times of calls change with every call and go along at most every 10 s.

import type { HealthMessage } from '../../shared/channel/messages.ts';
import { hashText } from '../../shared/text/hash.ts';
import type { Cancel, Clock } from '../../shared/time/clock.ts';
import type { LastCalls } from './last-calls.ts';
import type { StatusCache } from './status-cache.ts';
import type { ShownCause } from './verdict.ts';
import type { Warning } from './warnings.ts';

const intervalMs = 500;
const callsIntervalMs = 10_000;
const maxWarnings = 16;

export type HealthReporterDeps = {
  readonly clock: Pick<Clock, 'after' | 'nowMs'>;
  readonly cache: StatusCache;
  readonly warnings: () => readonly Warning[];
  readonly calls: Pick<LastCalls, 'times'>;
  /** The credential in use ends within its refresh window. */
  readonly isCredentialEnding: () => boolean;
  readonly send: (message: HealthMessage) => void;
};

/** `look`: tells now what changed. */
export type HealthReporter = { readonly look: () => void; readonly stop: Cancel };

export function createHealthReporter(deps: HealthReporterDeps): HealthReporter {
  let lastHealth = '';
  let lastTimes = '';
  let sentAtMs = Number.NEGATIVE_INFINITY;
  let cancel: Cancel = () => {};
  const look = () => {
    const ending = deps.isCredentialEnding() ? { isCredentialEnding: true } : {};
    const message = { ...healthMessage(deps.cache, deps.warnings()), ...ending };
    const lastCalls = timesOf(deps.calls);
    const health = JSON.stringify(message);
    const times = JSON.stringify(lastCalls);
    const nowMs = deps.clock.nowMs();
    const areTimesDue = times !== lastTimes && nowMs - sentAtMs >= callsIntervalMs;
    if (health === lastHealth && !areTimesDue) return;
    deps.send({ ...message, lastCalls });
    lastHealth = health;
    lastTimes = times;
    sentAtMs = nowMs;
  };
  const tick = () => {
    look();
    cancel = deps.clock.after(intervalMs, tick);
  };
  cancel = deps.clock.after(0, tick);
  return { look, stop: () => cancel() };
}

function healthMessage(cache: StatusCache, warnings: readonly Warning[]): HealthMessage {
  const verdict = cache.verdict();
  const classes = [verdict.metadataErrorClass, verdict.deepErrorClass];
  const active = cache.active;
  const key = active && { keyIdHash: hashText(active.kubernetesKeyId), transitKeyVersion: active.transitVersion };
  const told = warnings.slice(0, maxWarnings).map(({ waitingMs: _, ...words }) => words);
  return {
    kind: 'health',
    healthz: verdict.healthz,
    reasons: [...verdict.reasons],
    errorClasses: classes.filter((errorClass) => errorClass !== undefined),
    ...(verdict.cause === undefined ? {} : { cause: causeMessage(verdict.cause) }),
    ...(told.length === 0 ? {} : { warnings: told }),
    rotationState: verdict.rotationState,
    ...key,
  };
}

function causeMessage({
  reason: _,
  ageMs: __,
  repair: ___,
  ...cause
}: ShownCause): NonNullable<HealthMessage['cause']> {
  return { ...cause, sinceUnixMs: Math.max(0, Math.floor(cause.sinceUnixMs)) };
}

function timesOf({ times }: Pick<LastCalls, 'times'>): NonNullable<HealthMessage['lastCalls']> {
  const { status, encrypt, decrypt } = times();
  const whole = (unixMs: number) => Math.max(0, Math.floor(unixMs));
  return {
    ...(status === undefined ? {} : { statusUnixMs: whole(status) }),
    ...(encrypt === undefined ? {} : { encryptUnixMs: whole(encrypt) }),
    ...(decrypt === undefined ? {} : { decryptUnixMs: whole(decrypt) }),
  };
}
