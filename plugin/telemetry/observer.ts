// Turns what happened into log lines and series. Events come in with errors attached; what goes out is a class, never a
// text and never a cause.

import { createHmac } from 'node:crypto';
import { causeOf, hintOf } from '../../shared/errors/cause.ts';
import { errorChain } from '../../shared/errors/error.ts';
import { policyOf } from '../../shared/errors/policy.ts';
import type { Log, LogFields } from '../../shared/log/fields.ts';
import { hashText } from '../../shared/text/hash.ts';
import type { RequestEvent } from '../auth/authorized.ts';
import type { TokenEvent } from '../auth/tokens.ts';
import { profileWarnings } from '../keys/profile.ts';
import type { KmsObservation } from '../kms/kms.ts';
import type { FailedWith, ProbeEvent } from '../probes/probe-event.ts';
import type { Labels, Metrics } from './metrics.ts';

export type Correlation = { readonly incidentId: string; readonly endsAtUnixMs: number };

export type ObserverDeps = {
  readonly log: Log;
  readonly metrics: Metrics;
  readonly wallMs: () => number;
  readonly correlation: Correlation | undefined;
  /** Whether calls and requests that went well are written. */
  readonly isDebug: boolean;
  /** Random, of this process only: request uids cannot be guessed back from the log. */
  readonly uidKey: Buffer;
};

export type Observer = {
  readonly kms: (event: KmsObservation) => void;
  readonly request: (event: RequestEvent) => void;
  readonly token: (event: TokenEvent) => void;
  readonly probe: (event: ProbeEvent) => void;
  /** One request for so many Decrypts. */
  readonly sentDecrypts: (items: number) => void;
  /** OpenBao refuses several Decrypts together. */
  readonly batchesOff: () => void;
};

export function createObserver(deps: ObserverDeps): Observer {
  return {
    kms: (event) => observeKms(deps, event),
    request: (event) => observeRequest(deps, event),
    token: (event) => observeToken(deps, event),
    probe: createProbeObserver(deps),
    sentDecrypts: (items) => deps.metrics.observe('openbao_decrypt_batch_items', items, {}),
    batchesOff: () => {
      deps.metrics.count('decrypt_batch_off_total', {});
      deps.log('warn', 'decrypt.batch_off', { hint: batchOffHint });
    },
  };
}

const batchOffHint =
  'OpenBao refused several Decrypts in one request; for 5 minutes each goes alone. A policy on parameters, a quota or a limit of bytes may be the cause; transit.batchDecrypt: off keeps it so';

function correlated(deps: ObserverDeps, fields: () => LogFields): LogFields {
  const { correlation } = deps;
  if (correlation === undefined || deps.wallMs() >= correlation.endsAtUnixMs) return {};
  return {
    ...fields(),
    debug_correlation_incident: correlation.incidentId,
    debug_correlation_expires_at: new Date(correlation.endsAtUnixMs).toISOString(),
  };
}

function round(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}

function observeKms(deps: ObserverDeps, event: KmsObservation): void {
  const { log, metrics } = deps;
  const { method, status, errorClass } = event;
  const isOk = status === 'ok';
  const labels = labelsOf(method);
  metrics.count('grpc_requests_total', isOk ? labels.ok : labels.error); // control: observer.status-label
  metrics.observe('grpc_duration_seconds', event.durationMs / 1000, labels.method);
  if (errorClass !== undefined) metrics.count('grpc_errors_total', { method, error_class: errorClass });
  if (errorClass === 'concurrency_limit') metrics.count('grpc_concurrency_rejections_total', { method });
  if (event.panicType !== undefined) metrics.count('panic_recoveries_total', { method });
  if (isOk && !deps.isDebug) return;
  const uid = (event.uid ?? '').slice(0, 256);
  const uidHash = () => createHmac('sha256', deps.uidKey).update(uid).digest('base64url');
  const panic = event.panicType === undefined ? {} : { panic_recovered: true, panic_type: event.panicType };
  log(isOk ? 'debug' : 'warn', 'kms.request', {
    operation: `kms.${method}`,
    status: isOk ? 'ok' : 'error',
    grpc_status: status,
    duration_ms: round(event.durationMs),
    key_id_hash: event.keyIdHash,
    transit_key_version: event.transitKeyVersion,
    error_class: errorClass,
    healthz: event.healthz,
    ...panic,
    ...correlated(deps, () => (uid === '' ? {} : { request_uid_hash: uidHash() })),
  });
}

/** Labels that every call needs, made once: the metrics recognize them. */
type CallLabels = Readonly<Record<'method' | 'ok' | 'error', Labels>>;
const callLabels = new Map<string, CallLabels>();
function labelsOf(method: string): CallLabels {
  const made = callLabels.get(method);
  if (made !== undefined) return made;
  const of = (labels: Labels) => Object.freeze(labels);
  const labels = { method: of({ method }), ok: of({ method, status: 'ok' }), error: of({ method, status: 'error' }) };
  callLabels.set(method, labels);
  return labels;
}

type RequestLabels = Readonly<Record<'operation' | 'ok', Labels>>;
const requestLabels = new Map<string, RequestLabels>();
function requestLabelsOf(operation: string): RequestLabels {
  const made = requestLabels.get(operation);
  if (made !== undefined) return made;
  const labels = { operation: Object.freeze({ operation }), ok: Object.freeze({ operation, status: 'ok' }) };
  requestLabels.set(operation, labels);
  return labels;
}

function observeRequest(deps: ObserverDeps, event: RequestEvent): void {
  const labels = requestLabelsOf(event.label);
  const isOk = event.error === undefined;
  const status = isOk ? 'ok' : policyOf(event.error).probeClass;
  deps.metrics.count('openbao_requests_total', isOk ? labels.ok : { operation: event.label, status });
  deps.metrics.observe('openbao_duration_seconds', event.durationMs / 1000, labels.operation);
  if (isOk && !deps.isDebug) return;
  deps.log(event.error === undefined ? 'debug' : 'warn', 'openbao.request', {
    operation: 'openbao.request',
    openbao_operation: event.operation, // control: observer.operation
    status,
    duration_ms: round(event.durationMs),
    ...classFields(event.error),
    ...correlated(deps, () => (event.requestId === undefined ? {} : { openbao_request_id: event.requestId })),
  });
}

function observeToken(deps: ObserverDeps, event: TokenEvent): void {
  const status = event.error === undefined ? 'ok' : policyOf(event.error).tokenStatus;
  const isLogin = event.kind === 'login';
  deps.metrics.count(isLogin ? 'auth_login_total' : 'auth_renewal_total', { status });
  const level = event.error !== undefined ? 'warn' : isLogin ? 'info' : 'debug';
  const message = isLogin ? 'auth.login' : 'auth.renewal';
  deps.log(level, message, {
    operation: message,
    status,
    duration_ms: round(event.durationMs),
    ...causeFields(event.error),
  });
}

/** The one name of the cause and what else is known of it. */
function classFields(error: unknown): LogFields {
  if (error === undefined) return {};
  const { class: errorClass, detail, finding, httpStatus } = causeOf(error);
  return { error_class: errorClass, detail, finding, http_status: httpStatus };
}

/** Also what to do about it: on lines that come seldom. */
function causeFields(error: unknown): LogFields {
  return error === undefined ? {} : { ...classFields(error), hint: hintOf(error) };
}

function createProbeObserver(deps: ObserverDeps): (event: ProbeEvent) => void {
  let lastWarnings = '';
  let lastRights = '';
  return (event) => {
    if (event.kind === 'probe') observeProbe(deps, event);
    if (event.kind === 'skipped') observeSkipped(deps, event);
    if (event.kind === 'rights') lastRights = observeRights(deps, event, lastRights);
    if (event.kind === 'promoted') observePromotion(deps, event);
    if (event.kind === 'clock_regressed') deps.log('warn', 'clock.regressed', { reason: 'timestamp_order_preserved' });
    if (event.kind !== 'profile') return;
    const warnings = profileWarnings(event.profile).join(',');
    if (warnings !== lastWarnings && warnings !== '') deps.log('warn', 'key.profile', { reason: warnings });
    lastWarnings = warnings;
  };
}

function observeProbe(deps: ObserverDeps, event: Extract<ProbeEvent, { kind: 'probe' }>): void {
  const { failed } = event;
  const isOk = failed === undefined;
  const status = failed?.failure.reason ?? 'ok';
  const name = event.probe === 'metadata' ? 'transit_metadata_observation_total' : 'deep_probe_total';
  deps.metrics.count(name, { status });
  deps.metrics.set('probe_last_attempt_timestamp_seconds', deps.wallMs() / 1000, { kind: event.probe });
  if (isOk) deps.metrics.set('probe_last_success_timestamp_seconds', deps.wallMs() / 1000, { kind: event.probe });
  deps.log(isOk ? 'debug' : 'warn', 'status.probe', {
    operation: 'status.probe',
    status: isOk ? 'ok' : 'error',
    duration_ms: round(event.durationMs),
    probe_kind: event.probe,
    trigger: event.trigger,
    ...(failed === undefined ? {} : failureFields(failed)),
  });
}

/** As in /ready, and our own sentence. */
function failureFields({ failure, error }: FailedWith): LogFields {
  const { class: errorClass, detail, finding, httpStatus } = failure.cause;
  const field = errorChain(error)[0]?.facts['field'];
  return {
    error_class: errorClass,
    reason: failure.reason,
    detail,
    finding,
    http_status: httpStatus,
    field: typeof field === 'string' ? field : undefined,
    hint: hintOf(error),
  };
}

function observeSkipped({ log }: ObserverDeps, { probe, trigger }: Extract<ProbeEvent, { kind: 'skipped' }>): void {
  const reason = 'circuit_breaker_open';
  log('debug', 'status.probe', { operation: 'status.probe', status: 'skipped', reason, probe_kind: probe, trigger });
}

/** Said when the findings change. @returns what was said last */
function observeRights({ log }: ObserverDeps, event: Extract<ProbeEvent, { kind: 'rights' }>, last: string): string {
  const finding = event.findings.join(',');
  const error_class = event.error === undefined ? undefined : policyOf(event.error).probeClass;
  if (error_class !== undefined) log('debug', 'rights.unknown', { operation: 'rights.look', error_class });
  if (finding === last) return last;
  const hint = finding === '' ? undefined : 'compare the policy of the token with the one in README';
  log(finding === '' ? 'info' : 'warn', 'rights.changed', { operation: 'rights.look', finding, hint });
  return finding;
}

function observePromotion(deps: ObserverDeps, event: Extract<ProbeEvent, { kind: 'promoted' }>): void {
  deps.log('info', 'key.promoted', {
    operation: 'key.promoted',
    key_id_hash: hashText(event.active.kubernetesKeyId),
    transit_key_version: event.active.transitVersion,
    previous_key_id_hash: hashText(event.previous.kubernetesKeyId),
    previous_transit_key_version: event.previous.transitVersion,
  });
}
