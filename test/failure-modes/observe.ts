// What is seen of a provider while something is wrong: what the API server is told, what an operator reads, and whether the two ever
// contradict: Status says ok while a call of the same moment is refused by a wrong answer, one that would be the same for everybody.

import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import * as assert from 'uvu/assert';
import type { KmsErrorClass } from '../../shared/errors/policy.ts';
import type { Provider, Sealed } from '../support/provider.ts';
import type { Workplace } from '../support/workplace.ts';

export type Seen = {
  readonly status: string;
  readonly encrypt: string;
  readonly decrypt: string;
  readonly reasons: string;
  /** How long Status said ok while Encrypt or Decrypt got a wrong answer. */
  readonly wronglyOkMs: number;
};

/** Longer than `statusMaxStaleness` of the test, so that evidence has aged, and than a pause of the breaker, so that its end is seen. */
const settleMs = 40_000;
/** By then it has happened: a backup that comes back takes seconds, in which nothing is answered at all. */
const happenedMs = 10_000;
const pauseMs = 250;

/** Refusals from which nothing follows about the next call: there was no answer, or our own Status refused. */
const isSilent: Partial<Record<KmsErrorClass, true>> = {
  openbao_unavailable: true,
  openbao_dns_failed: true,
  openbao_connection_failed: true,
  openbao_sealed: true,
  openbao_rate_limited: true,
  key_metadata_refresh_failed: true,
  concurrency_limit: true,
  status_stale: true,
  timeout: true,
  canceled: true,
};

/** `served`, or the message of the refusal. */
export const answerOf = (call: Promise<unknown>): Promise<string> =>
  call.then(
    () => 'served',
    (error: unknown) => (error as { readonly details?: string }).details ?? String(error),
  );

const isWrongAnswer = ([errorClass]: readonly [string, number]) => !Object.hasOwn(isSilent, errorClass);

/** How many Encrypts and Decrypts were refused by a wrong answer so far; of this plugin. */
async function wrongAnswers(provider: Provider): Promise<number> {
  const line = /^openbao_kms_grpc_errors_total\{method="(?:encrypt|decrypt)",error_class="([a-z_]+)"\} (\d+)$/gmu;
  const counts = [...(await provider.metrics()).matchAll(line)].map(
    ([, name = '', count]) => [name, Number(count)] as const,
  );
  return counts.filter(isWrongAnswer).reduce((sum, [, count]) => sum + count, 0);
}

/** What is seen once it has settled; the socket answers all the while. */
export async function observe(provider: Provider, { socketPath }: Workplace, sealed: Sealed): Promise<Seen> {
  const startedAtMs = performance.now();
  const reasons = new Set<string>();
  const lateReasons = new Set<string>();
  const look = async () => {
    const calls = [provider.client.encrypt(randomBytes(32)), provider.client.decrypt(sealed)] as const;
    const [encrypt, decrypt] = await Promise.all(calls.map(answerOf));
    // Asked when the refusals are known.
    const { healthz: status } = await provider.client.status();
    const isLate = performance.now() > startedAtMs + happenedMs;
    for (const reason of await toldReasons(provider)) {
      reasons.add(reason);
      if (isLate) lateReasons.add(reason);
    }
    assert.ok(existsSync(socketPath), 'the socket never disappears');
    return { status, encrypt: encrypt ?? '', decrypt: decrypt ?? '' };
  };
  let wronglyOkMs = 0;
  let refused = await wrongAnswers(provider);
  let lookedAtMs = performance.now();
  let last = await look();
  for (;;) {
    const now = await wrongAnswers(provider);
    const nowMs = performance.now();
    if (now > refused && last.status === 'ok') wronglyOkMs += nowMs - lookedAtMs;
    [refused, lookedAtMs] = [now, nowMs];
    if (nowMs > startedAtMs + settleMs) break;
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
    last = await look();
  }
  const seen = [...(last.status === 'ok' ? reasons : lateReasons)];
  return { ...last, reasons: shownOf(seen, await toldReasons(provider)), wronglyOkMs };
}

const toldReasons = async (provider: Provider): Promise<string[]> =>
  ((await provider.ready()).body['reasons'] as string[] | undefined) ?? [];

/** The reasons that are the failure's own, in the alphabet's order. */
function shownOf(seen: readonly string[], told: readonly string[]): string {
  // The breaker opens and closes meanwhile, and staleness follows from the rest: what stands behind them is what matters.
  const behind = seen.filter(
    (reason) => !['circuit_breaker_open', 'status_stale', 'metadata_unverified'].includes(reason),
  );
  // Whether the first deep probe had passed before the failure was seen is chance.
  const lasting = behind.filter((reason) => reason !== 'deep_probe_pending');
  // OpenBao may go away between the two reads of a probe; from the next one on it is the first that fails.
  const isFirstRead = lasting.includes('upsert_check_failed');
  const settled = lasting.filter((reason) => !isFirstRead || reason !== 'metadata_read_failed');
  return (settled.length > 0 ? settled.sort() : told).join(', ') || '–';
}
