// Tells the supervisor when health changed, and only then: right after each probe, and twice a second for what ages by itself.

import type { HealthMessage } from '../../shared/channel/messages.ts';
import { hashText } from '../../shared/text/hash.ts';
import type { Cancel, Clock } from '../../shared/time/clock.ts';
import type { StatusCache } from './status-cache.ts';

const intervalMs = 500;

export type HealthReporterDeps = {
  readonly clock: Pick<Clock, 'after'>;
  readonly cache: StatusCache;
  readonly send: (message: HealthMessage) => void;
};

export function createHealthReporter(deps: HealthReporterDeps): { readonly look: () => void; readonly stop: Cancel } {
  let last = '';
  let cancel: Cancel = () => {};
  const look = () => {
    const message = healthMessage(deps.cache);
    const text = JSON.stringify(message);
    if (text !== last) deps.send(message);
    last = text;
  };
  const tick = () => {
    look();
    cancel = deps.clock.after(intervalMs, tick);
  };
  cancel = deps.clock.after(0, tick);
  return { look, stop: () => cancel() };
}

function healthMessage(cache: StatusCache): HealthMessage {
  const verdict = cache.verdict();
  const classes = [verdict.metadataErrorClass, verdict.deepErrorClass];
  const active = cache.active;
  const key = active && { keyIdHash: hashText(active.kubernetesKeyId), transitKeyVersion: active.transitVersion };
  return {
    kind: 'health',
    healthz: verdict.healthz,
    reasons: [...verdict.reasons],
    errorClasses: classes.filter((errorClass) => errorClass !== undefined),
    rotationState: verdict.rotationState,
    ...key,
  };
}
