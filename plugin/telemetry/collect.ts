// Sets the gauges that are read only when somebody scrapes.

import { type Counters, directoryNames, portNames } from '../../shared/channel/messages.ts';
import type { Config } from '../../shared/config/config.ts';
import { hashText } from '../../shared/text/hash.ts';
import type { LoginFacts } from '../auth/methods/method.ts';
import type { TokenStatus } from '../auth/tokens.ts';
import type { LastCalls } from '../health/last-calls.ts';
import type { StatusCache } from '../health/status-cache.ts';
import { type Warning, warningCodes } from '../health/warnings.ts';
import type { EventLoopLag } from './event-loop-lag.ts';
import type { Metrics } from './metrics.ts';

export type CollectDeps = {
  readonly cache: StatusCache;
  readonly config: Config;
  readonly build: {
    readonly version: string;
    readonly commit: string;
    readonly buildDate: string;
    readonly dirty: string;
  };
  readonly counters: () => Counters;
  readonly tokens: () => TokenStatus;
  readonly login: () => LoginFacts;
  /** Life left of the trust in use; 0 without one. */
  readonly trustTtlMs: () => number;
  readonly generations: () => Readonly<Record<string, number>>;
  /** Modification time of the newest file sent, Unix milliseconds, by name. */
  readonly credentialFiles: ReadonlyMap<string, number>;
  readonly isBreakerOpen: () => boolean;
  readonly inFlight: () => Readonly<Record<string, number>>;
  readonly lastCalls: LastCalls['times'];
  readonly warnings: () => readonly Warning[];
  readonly uptimeMs: () => number;
  readonly wallMs: () => number;
  readonly memoryUsage: () => { readonly heapUsedBytes: number; readonly residentBytes: number };
  readonly eventLoopLag: EventLoopLag['scraped'];
};

export function createCollector(deps: CollectDeps): (metrics: Metrics) => void {
  return (metrics) => {
    collectBuild(deps, metrics);
    collectStatus(deps, metrics);
    collectCause(deps, metrics);
    collectWarnings(deps, metrics);
    collectCredentials(deps, metrics);
    collectSupervisor(deps, metrics);
    collectProcess(deps, metrics);
  };
}

function collectBuild({ build, config, login }: CollectDeps, metrics: Metrics): void {
  const { version, commit, buildDate, dirty } = build;
  metrics.set('build_info', 1, { version, commit, build_date: buildDate, dirty });
  metrics.set('auth_method_info', 1, { method: login().method });
  metrics.set('certificate_source_info', 1, { source: 'none' });
  metrics.set('status_max_staleness_seconds', config.status.statusMaxStalenessMs / 1000);
  metrics.set('token_refresh_window_seconds', config.auth.loginBeforeTokenExpiryMs / 1000);
}

function collectStatus({ cache, isBreakerOpen, inFlight }: CollectDeps, metrics: Metrics): void {
  const verdict = cache.verdict();
  const active = cache.active;
  metrics.reset('status_key_id_hash');
  if (active !== undefined) {
    metrics.set('status_key_id_hash', 1, { hash: hashText(active.kubernetesKeyId) }); // control: collect.key-id-hash
    metrics.set('key_version', active.transitVersion);
    metrics.set('key_promoted_timestamp_seconds', active.promotedAtUnix);
    metrics.set('state_generation', cache.state?.generation ?? 0);
    metrics.set('registry_records', cache.state?.snapshots.length ?? 0);
  }
  metrics.set('status_healthy', verdict.healthz === 'ok' ? 1 : 0);
  if (verdict.cacheAgeMs !== undefined) metrics.set('status_cache_age_seconds', verdict.cacheAgeMs / 1000);
  metrics.set('rotation_persistence_degraded', verdict.isPersistenceDegraded ? 1 : 0);
  metrics.set('circuit_breaker_state', isBreakerOpen() ? 1 : 0);
  for (const state of ['active', 'pending', 'unknown']) {
    metrics.set('rotation_state', verdict.rotationState === state ? 1 : 0, { state });
  }
  for (const [method, running] of Object.entries(inFlight())) metrics.set('grpc_in_flight', running, { method });
}

/** Absent while nothing is wrong. */
function collectCause({ cache }: CollectDeps, metrics: Metrics): void {
  metrics.reset('cause_age_seconds');
  const { cause } = cache.verdict();
  if (cause === undefined) return;
  const { reason, class: errorClass, detail = 'none', finding = 'none', httpStatus, ageMs } = cause;
  const labels = { reason, class: errorClass, detail, finding, http_status: String(httpStatus ?? 'none') };
  metrics.set('cause_age_seconds', ageMs / 1000, labels);
}

function collectWarnings({ warnings, lastCalls }: CollectDeps, metrics: Metrics): void {
  const current = warnings();
  for (const code of warningCodes) {
    metrics.set('warning', current.some(({ warning }) => warning === code) ? 1 : 0, { warning: code });
  }
  metrics.reset('credential_candidate_waiting_seconds');
  for (const { name, waitingMs } of current) {
    if (name === undefined || waitingMs === undefined) continue;
    metrics.set('credential_candidate_waiting_seconds', waitingMs / 1000, { name });
  }
  for (const [method, unixMs] of Object.entries(lastCalls())) {
    metrics.set('last_call_timestamp_seconds', unixMs / 1000, { method });
  }
}

function collectCredentials(deps: CollectDeps, metrics: Metrics): void {
  metrics.set('token_ttl_seconds', Math.max(0, deps.tokens().ttlMs) / 1000);
  const { jwtTtlMs, certificateTtlMs } = deps.login();
  metrics.set('certificate_ttl_seconds', certificateTtlMs / 1000);
  metrics.set('jwt_ttl_seconds', jwtTtlMs / 1000);
  metrics.set('openbao_ca_ttl_seconds', deps.trustTtlMs() / 1000);
  for (const [name, generation] of Object.entries(deps.generations())) {
    metrics.set('credential_generation', generation, { name });
  }
  for (const [name, modifiedAtUnixMs] of deps.credentialFiles) {
    metrics.set('credential_file_age_seconds', Math.max(0, deps.wallMs() - modifiedAtUnixMs) / 1000, { name });
  }
}

function collectSupervisor({ counters }: CollectDeps, metrics: Metrics): void {
  const { restarts, gateRefusals, credentialRefusals, ...rest } = counters();
  for (const [reason, total] of Object.entries(restarts)) metrics.setTotal('plugin_restarts_total', total, { reason });
  for (const [check, total] of Object.entries(gateRefusals)) metrics.setTotal('gate_refusals_total', total, { check });
  for (const [key, total] of Object.entries(credentialRefusals)) {
    const [name = '', cause = ''] = key.split(' ');
    metrics.setTotal('credential_refusals_total', total, { name, class: cause });
  }
  metrics.setTotal('socket_restarts_total', rest.staleSockets);
  metrics.setTotal('checkpoints_recreated_total', rest.checkpointsRecreated);
  metrics.set('socket_lost', rest.socketLost ? 1 : 0);
  for (const directory of directoryNames) {
    metrics.set('directory_gone', rest.directoriesGone.includes(directory) ? 1 : 0, { directory });
  }
  for (const port of portNames) metrics.set('port_taken', rest.portsTaken.includes(port) ? 1 : 0, { port });
  metrics.set('supervisor_start_time_seconds', rest.supervisorStartedAtUnixMs / 1000);
}

function collectProcess(deps: CollectDeps, metrics: Metrics): void {
  const { heapUsedBytes, residentBytes } = deps.memoryUsage();
  metrics.set('heap_used_bytes', heapUsedBytes);
  metrics.set('resident_memory_bytes', residentBytes);
  const { p99Ms, maxMs } = deps.eventLoopLag();
  metrics.set('event_loop_lag_p99_seconds', p99Ms / 1000);
  metrics.set('event_loop_lag_max_seconds', maxMs / 1000);
  metrics.set('plugin_uptime_seconds', deps.uptimeMs() / 1000);
}
