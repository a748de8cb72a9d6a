// What is told beside the verdict: rights, warnings, who called, the cause in /ready, and when the supervisor hears of it.

import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createLastCalls } from '../../../../plugin/health/last-calls.ts';
import { createHealthReporter } from '../../../../plugin/health/reporter.ts';
import { StatusCache } from '../../../../plugin/health/status-cache.ts';
import type { Failure } from '../../../../plugin/health/verdict.ts';
import { type Warning, type WarningSources, warningCodes, warningsOf } from '../../../../plugin/health/warnings.ts';
import { profileFindings } from '../../../../plugin/keys/profile-findings.ts';
import { findRights, isFatal, rightFindings, rightPaths } from '../../../../plugin/keys/rights.ts';
import { readyBody } from '../../../../plugin/telemetry/ready.ts';
import { readCapabilities } from '../../../../plugin/transit/read-capabilities.ts';
import { encodeMessage, type HealthMessage, parsePluginMessage } from '../../../../shared/channel/messages.ts';
import { readClock } from '../../../../shared/time/age.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';
import { rejectsClass } from '../../../support/throws.ts';
import { firstState, snapshot } from '../../../support/vectors.ts';

const least: Readonly<Record<string, readonly string[]>> = {
  'm/encrypt/k': ['update'],
  'm/decrypt/k': ['update'],
  'm/keys/k': ['read'],
  'm/config/keys': ['read'],
  'auth/token/renew-self': ['update'],
};
const findingsWith = (change: Readonly<Record<string, readonly string[]>>) => {
  const granted = rightPaths('m', 'k').map((path) => [path, change[path] ?? least[path] ?? ['deny']] as const);
  return findRights('m', 'k', new Map(granted));
};

test('the policy of README is exactly right', () => {
  assert.equal(findingsWith({}), []);
});

for (const [path, granted, expected] of [
  ['m/encrypt/k', ['deny'], 'missing_encrypt'],
  ['m/encrypt/k', ['create', 'update'], 'extra_on_encrypt'],
  ['m/encrypt/k', ['sudo', 'update'], 'extra_on_encrypt'],
  ['m/decrypt/k', ['read'], 'missing_decrypt'],
  ['m/decrypt/k', ['sudo', 'update'], 'extra_on_decrypt'],
  ['m/keys/k', ['deny'], 'missing_metadata_read'],
  ['m/keys/k', ['delete', 'read'], 'extra_on_key'],
  ['m/config/keys', ['deny'], 'missing_upsert_read'],
  ['m/config/keys', ['read', 'update'], 'extra_on_mount_config'],
  ['auth/token/renew-self', ['deny'], 'missing_renew'],
  ['m/keys/k/config', ['update'], 'extra_key_config'],
  ['m/keys/k/config', ['patch'], 'extra_key_config'],
  ['m/keys/k/trim', ['update'], 'extra_trim'],
  ['m/keys/k/rotate', ['create'], 'extra_rotate'],
  ['m/keys/k/soft-delete', ['delete'], 'extra_soft_delete'],
  ['m/keys/k/soft-delete-restore', ['update'], 'extra_soft_delete'],
  ['m/keys/k/import', ['create'], 'extra_import'],
  ['m/keys/k/import_version', ['update'], 'extra_import'],
  ['m/restore', ['update'], 'extra_restore'],
  ['m/restore/k', ['update'], 'extra_restore'],
  ['m/rewrap/k', ['update'], 'extra_rewrap'],
  ['m/export/encryption-key/k', ['read'], 'extra_export'],
  ['m/byok-export/k/k', ['read'], 'extra_export'],
  ['m/backup/k', ['read'], 'extra_backup'],
] as const) {
  test(`${granted.join(' and ')} on ${path} is ${expected}`, () => {
    assert.equal(findingsWith({ [path]: granted }), [expected]);
  });
}

test('list and read where nothing can be read are no findings, root is one', () => {
  assert.equal(findingsWith({ 'm/keys/k/config': ['list', 'read'], 'm/encrypt/k': ['list', 'update'] }), []);
  assert.equal(findingsWith({ 'm/encrypt/k': ['root'], 'm/decrypt/k': ['root'] }), ['extra_root']);
});

test('only Encrypt and Decrypt are reasons to be unhealthy', () => {
  assert.equal(rightFindings.filter(isFatal), ['missing_encrypt', 'missing_decrypt']);
});

for (const [what, data] of [
  ['a path left out', { 'm/a': ['read'] }],
  ['an empty list', { 'm/a': ['read'], 'm/b': [] }],
  ['something else than a list', { 'm/a': ['read'], 'm/b': 'read' }],
  ['nothing', undefined],
] as const) {
  test(`capabilities with ${what} are incomplete, never read as a denial`, async () => {
    const send = async () => ({ data, auth: undefined, requestId: undefined, status: 200 });
    await rejectsClass(readCapabilities(send, ['m/a', 'm/b']), 'bao_protocol_error');
  });
}

test('rights are asked for with the token as it is: a refusal starts no login', async () => {
  let mayRecover: boolean | undefined;
  const data = { 'm/a': ['deny'] };
  await readCapabilities(
    async (call) => {
      mayRecover = call.mayRecover;
      return { data, auth: undefined, requestId: undefined, status: 200 };
    },
    ['m/a'],
  );

  assert.is(mayRecover, false);
});

test('Status is missed after three minutes without one, counted from the opening of the socket', async () => {
  const clock = createFakeClock();
  const calls = createLastCalls(clock);
  await clock.advance(1_000_000);
  assert.is(calls.isStatusSilent(), false, 'nobody can call before the socket is open');
  calls.opened();
  await clock.advance(180_000);
  calls.called('encrypt');
  assert.is(calls.isStatusSilent(), false);
  await clock.advance(1);
  assert.is(calls.isStatusSilent(), true);
  calls.called('status');
  assert.is(calls.isStatusSilent(), false);
  assert.equal(calls.times(), { status: clock.wallMs(), encrypt: clock.wallMs() - 1 });
});

const nothing: WarningSources = {
  credentials: () => [],
  isStatusSilent: () => false,
  decryptFailing: () => undefined,
  rightFindings: () => [],
  directoriesGone: () => [],
  portsTaken: () => [],
  isRegistryLarge: () => false,
};

test('every warning has its words; what makes unhealthy is none', () => {
  const credential = { name: 'jwt', class: 'auth_failed', detail: 'audience', waitingMs: 61_500 } as const;
  const found = warningsOf({
    credentials: () => [
      { ...credential, state: 'refused' },
      { name: 'openbao_ca', state: 'waiting', waitingMs: 1 },
    ],
    isStatusSilent: () => true,
    decryptFailing: () => ({ class: 'decrypt_failed' }),
    rightFindings: () => ['missing_decrypt', 'extra_export'],
    directoriesGone: () => ['runtime', 'credentials', 'state'],
    portsTaken: () => ['health', 'metrics'],
    isRegistryLarge: () => true,
  });

  assert.equal(found, [
    { warning: 'credential_refused', ...credential },
    { warning: 'credential_waiting', name: 'openbao_ca', waitingMs: 1 },
    { warning: 'no_status_calls' },
    { warning: 'decrypt_failing', class: 'decrypt_failed' },
    { warning: 'credentials_directory_gone' },
    { warning: 'state_directory_gone' },
    { warning: 'registry_large' },
    { warning: 'health_port_taken' },
    { warning: 'metrics_port_taken' },
    { warning: 'extra_export' },
  ]);
  assert.equal(warningsOf(nothing), []);
});

function createBench() {
  const clock = createFakeClock();
  const cache = new StatusCache(clock, { statusMaxStalenessMs: 120_000, deepMaxAgeMs: 900_000 });
  const startedAt = readClock(clock);
  cache.publish(firstState(), startedAt);
  cache.deepPassed(snapshot(1).kubernetesKeyId, startedAt);
  return { clock, cache };
}

const denied: Failure = {
  reason: 'deep_probe_failed',
  cause: { class: 'permission_denied', httpStatus: 403 },
  kind: 'wrong_answer',
};
const silent: Failure = { reason: 'upsert_check_failed', cause: { class: 'sealed' }, kind: 'no_answer' };

test('the cause is the failure that decides, with the right that is behind a denial, since the first failure', async () => {
  const { clock, cache } = createBench();
  assert.is(cache.verdict().cause, undefined);
  const sinceUnixMs = clock.wallMs();
  cache.metadataFailed(silent);
  await clock.advance(5_000);
  const named = () => {
    const { cause } = cache.verdict();
    return cause && [cause.reason, cause.class, cause.finding, cause.sinceUnixMs - sinceUnixMs, cause.ageMs];
  };
  assert.equal(named(), ['upsert_check_failed', 'sealed', undefined, 0, 5_000]);
  cache.deepFailed(denied);
  await clock.advance(1_000);
  assert.equal(named(), ['deep_probe_failed', 'permission_denied', undefined, 5_000, 1_000]);
  cache.rightsSeen(['missing_decrypt']);
  assert.equal(named(), ['deep_probe_failed', 'permission_denied', 'missing_decrypt', 5_000, 1_000]);
  cache.deepPassed(snapshot(1).kubernetesKeyId, readClock(clock));
  assert.equal(named(), ['rights_missing', 'permission_denied', 'missing_decrypt', 6_000, 0]);
  cache.metadataFailed({ reason: 'upsert_check_failed', cause: { class: 'permission_denied' }, kind: 'wrong_answer' });
  cache.rightsSeen(['missing_upsert_read']);
  assert.equal(named(), ['upsert_check_failed', 'permission_denied', 'missing_upsert_read', 0, 6_000]);
});

test('/ready names cause, age, next probe and warnings, and none of them while nothing is wrong', async () => {
  const { clock, cache } = createBench();
  const warnings: readonly Warning[] = [{ warning: 'credential_refused', name: 'jwt', waitingMs: 61_500 }];
  const ready = (told: readonly Warning[]) => {
    const facts = { verdict: cache.verdict(), breaker: 'closed' as const, warnings: told };
    const { status, body } = readyBody({ ...facts, nextProbeAtUnixMs: clock.wallMs() + 7_000 });
    return { code: status, ...JSON.parse(body) };
  };
  assert.equal(ready([]), {
    code: 200,
    status: 'ok',
    healthz: 'ok',
    cache_age_ms: 0,
    stale: false,
    rotation_state: 'active',
    reasons: [],
  });
  assert.equal(
    [ready(warnings).code, ready(warnings).warnings],
    [200, [{ warning: 'credential_refused', name: 'jwt', waiting_seconds: 61 }]],
  );
  cache.deepFailed(denied);
  await clock.advance(95_400);
  const { code, cause, next_probe_at } = ready([]);
  assert.equal(
    [code, cause, next_probe_at],
    [
      503,
      {
        reason: 'deep_probe_failed',
        class: 'permission_denied',
        http_status: 403,
        since: '2025-06-15T15:06:40.000Z',
        for_seconds: 95,
      },
      '2025-06-15T15:08:22.400Z',
    ],
  );
});

test('the supervisor hears of a change at once, of the times of calls every 10 s, of nothing else', async () => {
  const { clock, cache } = createBench();
  const calls = createLastCalls(clock);
  const sent: HealthMessage[] = [];
  let warnings: readonly Warning[] = [];
  const reporter = createHealthReporter({
    clock,
    cache,
    calls,
    isCredentialEnding: () => false,
    warnings: () => warnings,
    send: (message) => sent.push(message),
  });
  await clock.advance(60_000);
  assert.is(sent.length, 1, 'nothing changes, nothing is said');
  for (let second = 0; second < 60; second += 1) {
    calls.called('status');
    await clock.advance(1_000);
  }
  assert.is(sent.length, 7, 'a call a second is a message in ten');
  cache.deepFailed(denied);
  warnings = [{ warning: 'decrypt_failing', class: 'decrypt_failed' }];
  await clock.advance(500);
  const last = sent.at(-1);
  assert.equal(last?.cause, { class: 'permission_denied', httpStatus: 403, sinceUnixMs: clock.wallMs() - 500 });
  assert.equal(last?.warnings, [{ warning: 'decrypt_failing', class: 'decrypt_failed' }]);
  assert.ok(last?.lastCalls?.statusUnixMs !== undefined);
  if (last !== undefined) assert.equal(parsePluginMessage(encodeMessage(last)), last, 'and it passes the channel');
  reporter.stop();
});

test('docs/operations.md has a row for every warning and every finding', () => {
  const text = readFileSync(new URL('../../../../docs/operations.md', import.meta.url), 'utf8');
  for (const code of [...warningCodes, ...rightFindings, ...profileFindings])
    assert.ok(text.includes(`\`${code}\``), code);
});

test.run();
