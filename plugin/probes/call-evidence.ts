// Calls are evidence too. A wrong answer to an Encrypt, or to a Decrypt whose own checks had all passed, brings the deep probe
// forward; a good answer ends the pause after failed probes. Several distinct Decrypts that fail while the deep probe passes are
// told and change nothing: data may be damaged, the key is fine.

import { causeOf } from '../../shared/errors/cause.ts';
import { policyOf } from '../../shared/errors/policy.ts';
import type { Clock } from '../../shared/time/clock.ts';
import type { StatusCache } from '../health/status-cache.ts';
import { isDenial } from './probe-failure.ts';
import type { Probes } from './probes.ts';
import type { Scheduler } from './scheduler.ts';

/** What OpenBao made of one call. */
export type AnsweredCall = {
  readonly method: 'encrypt' | 'decrypt';
  /** Equal for calls that must have equal answers; asked for only when the call failed. */
  readonly identity: () => string;
  readonly error?: unknown;
};

export type CallEvidence = {
  readonly call: (call: AnsweredCall) => void;
  /** OpenBao granted a login. */
  readonly answeredWell: () => void;
  /** While distinct Decrypts fail although the deep probe passes. */
  readonly decryptFailing: () => { readonly class: string } | undefined;
};

export type CallEvidenceDeps = {
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly cache: Pick<StatusCache, 'deepProvenAtMs'>;
  readonly probes: Pick<Probes, 'answeredWell' | 'wantRights'>;
  readonly scheduler: Pick<Scheduler, 'want'>;
};

const distinctDecrypts = 3;
const windowMs = 10_000;
/** Told for this long after the last one, so that somebody who looks now and then can see it. */
const toldMs = 60_000;
const maxRemembered = 64;

type Burst = { readonly firstAtMs: number; readonly lastAtMs: number; readonly class: string };

export function createCallEvidence(deps: CallEvidenceDeps): CallEvidence {
  /** When each distinct Decrypt failed last, oldest first. */
  const failed = new Map<string, number>();
  let burst: Burst | undefined;

  const isTold = ({ lastAtMs }: Burst) => deps.clock.nowMs() - lastAtMs <= toldMs;
  const decryptFailed = (identity: string, error: unknown) => {
    const nowMs = deps.clock.nowMs();
    failed.delete(identity);
    failed.set(identity, nowMs);
    for (const [one, atMs] of failed) {
      if (nowMs - atMs > windowMs || failed.size > maxRemembered) failed.delete(one);
    }
    const running = burst !== undefined && isTold(burst) ? burst : undefined;
    if (running === undefined && failed.size < distinctDecrypts) return;
    const [oldestAtMs = nowMs] = failed.values();
    burst = { firstAtMs: running?.firstAtMs ?? oldestAtMs, lastAtMs: nowMs, class: causeOf(error).class };
  };
  const answeredWell = () => {
    for (const kind of deps.probes.answeredWell()) deps.scheduler.want(kind);
  };
  return {
    answeredWell,
    call: ({ method, identity, error }) => {
      if (error === undefined) return answeredWell();
      if (policyOf(error).evidence !== 'wrong_answer') return;
      if (isDenial(error)) deps.probes.wantRights();
      deps.scheduler.want('deep');
      if (method === 'decrypt') decryptFailed(identity(), error);
    },
    decryptFailing: () => {
      const provenAtMs = deps.cache.deepProvenAtMs;
      const isDeepGood = burst !== undefined && provenAtMs !== undefined && provenAtMs >= burst.firstAtMs;
      return burst !== undefined && isDeepGood && isTold(burst) ? { class: burst.class } : undefined;
    },
  };
}
