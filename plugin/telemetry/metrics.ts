// Every series of /metrics in one table, with its labels and the values they may take. docs/metrics.md is tested against
// it. No label ever holds a raw key id, a path, a name or a text from outside.

import { Counter, Gauge, Histogram, Registry } from 'prom-client';

export const durationBucketsSeconds = [
  0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096,
];

/** Of what is counted in items: up to the most that go in one request. */
const itemBuckets = [1, 2, 4, 8, 16, 32, 64];

type Series = {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly labels: readonly string[];
  readonly help: string;
};

const series = [
  ['build_info', 'gauge', ['version', 'commit', 'build_date', 'dirty'], '1, labelled with the build'],
  ['grpc_requests_total', 'counter', ['method', 'status'], 'KMS calls; status ok or error'],
  ['grpc_errors_total', 'counter', ['method', 'error_class'], 'failed KMS calls by class'],
  ['grpc_duration_seconds', 'histogram', ['method'], 'handler latency'],
  ['grpc_in_flight', 'gauge', ['method'], 'active handlers'],
  ['grpc_concurrency_rejections_total', 'counter', ['method'], 'calls over their limit'],
  ['openbao_requests_total', 'counter', ['operation', 'status'], 'requests to OpenBao; ok, a class, or error'],
  ['openbao_duration_seconds', 'histogram', ['operation'], 'latency of requests to OpenBao'],
  [
    'openbao_decrypt_batch_items',
    'histogram',
    [],
    'Decrypts that one request to OpenBao carried; more than one is one entry of its audit log',
  ],
  ['decrypt_batch_off_total', 'counter', [], 'times that OpenBao refused Decrypts together, so that each went alone'],
  ['auth_login_total', 'counter', ['status'], 'logins'],
  ['auth_renewal_total', 'counter', ['status'], 'token renewals'],
  ['auth_method_info', 'gauge', ['method'], '1, labelled with the login method'],
  ['certificate_source_info', 'gauge', ['source'], '1, labelled with the source of the client certificate'],
  ['token_ttl_seconds', 'gauge', [], 'life left of the OpenBao token'],
  ['token_refresh_window_seconds', 'gauge', [], 'how long before its end a token is refreshed'],
  ['certificate_ttl_seconds', 'gauge', [], 'life left of the client certificate; 0 without one'],
  ['jwt_ttl_seconds', 'gauge', [], 'life left of the JWT in use'],
  [
    'openbao_ca_ttl_seconds',
    'gauge',
    [],
    'life left of the certificate in openbao.caCertFile that ends first; 0 without one in use',
  ],
  ['status_key_id_hash', 'gauge', ['hash'], '1 for the active key'],
  ['key_version', 'gauge', [], 'Transit version used for new encryptions'],
  ['state_generation', 'gauge', [], 'generation of the registry state'],
  ['registry_records', 'gauge', [], 'records of the registry state; at 4096 no newer version is taken'],
  ['key_promoted_timestamp_seconds', 'gauge', [], 'when the active key became active'],
  ['status_cache_age_seconds', 'gauge', [], 'age of the last good metadata probe'],
  ['status_max_staleness_seconds', 'gauge', [], 'age at which Status turns unhealthy'],
  ['status_healthy', 'gauge', [], '1 while Status is ok'],
  [
    'cause_age_seconds',
    'gauge',
    ['reason', 'class', 'detail', 'finding', 'http_status'],
    'for how long no probe of the failing kind has succeeded, labelled with the cause; absent while none fails',
  ],
  ['warning', 'gauge', ['warning'], '1 while this warning stands in /ready'],
  ['last_call_timestamp_seconds', 'gauge', ['method'], 'last call of each KMS method; absent until the first'],
  ['transit_metadata_observation_total', 'counter', ['status'], 'metadata probes; ok or the reason'],
  ['deep_probe_total', 'counter', ['status'], 'deep probes; ok or the reason'],
  ['probe_last_success_timestamp_seconds', 'gauge', ['kind'], 'last good probe'],
  ['probe_last_attempt_timestamp_seconds', 'gauge', ['kind'], 'last probe, good or not'],
  ['rotation_state', 'gauge', ['state'], 'one-hot: active, pending, unknown'],
  ['rotation_persistence_degraded', 'gauge', [], '1 while bookkeeping could not be saved'],
  ['circuit_breaker_state', 'gauge', [], '1 while probes are skipped'],
  ['aad_validation_errors_total', 'counter', ['reason'], 'Decrypts whose annotations were refused'],
  ['decrypt_key_id_errors_total', 'counter', ['reason'], 'Decrypts whose key_id was refused'],
  ['panic_recoveries_total', 'counter', ['method'], 'exceptions caught in handlers'],
  ['socket_restarts_total', 'counter', [], 'dead sockets replaced at bind'],
  ['socket_lost', 'gauge', [], '1 while the name of the socket is gone or foreign'],
  ['directory_gone', 'gauge', ['directory'], '1 while the path of a directory in custody no longer leads to it'],
  ['port_taken', 'gauge', ['port'], '1 while somebody else has the port of /metrics or of the health endpoints'],
  ['bound_reached_total', 'counter', ['bound'], 'refusals because somebody wanted more than a bound allows'],
  ['checkpoints_recreated_total', 'counter', [], 'states accepted without their checkpoint'],
  ['plugin_restarts_total', 'counter', ['reason'], 'relaunches of the plugin'],
  ['gate_refusals_total', 'counter', ['check'], 'relaunches that the gate refused'],
  ['supervisor_start_time_seconds', 'gauge', [], 'start of the supervisor'],
  ['plugin_uptime_seconds', 'gauge', [], 'age of this plugin'],
  ['credential_generation', 'gauge', ['name'], 'generation in use'],
  ['credential_file_age_seconds', 'gauge', ['name'], 'age of the newest file sent'],
  ['credential_candidate_waiting_seconds', 'gauge', ['name'], 'age of a newer generation that is not in use'],
  ['credential_refusals_total', 'counter', ['name', 'class'], 'refused generations and files'],
  ['heap_used_bytes', 'gauge', [], 'JavaScript heap in use'],
  ['resident_memory_bytes', 'gauge', [], 'resident memory of the plugin'],
  ['event_loop_lag_p99_seconds', 'gauge', [], 'event-loop delay since the last scrape, 99th percentile'],
  ['event_loop_lag_max_seconds', 'gauge', [], 'longest event-loop delay since the last scrape'],
] as const;

export type MetricName = (typeof series)[number][0];

const prefix = 'openbao_kms_';

export const metricSeries: readonly Series[] = series.map(([name, type, labels, help]) => ({
  name: prefix + name,
  type,
  labels,
  help,
}));

/** Label values are lower-cased; foreign characters become `_`; empty becomes `unknown`. */
export function labelValue(text: string): string {
  return text.toLowerCase().replace(/[^a-z0-9_]/gu, '_') || 'unknown';
}

export type Labels = Readonly<Record<string, string>>;

const none: Labels = Object.freeze({});

export type Metrics = {
  readonly count: (name: MetricName, labels?: Labels) => void;
  readonly observe: (name: MetricName, value: number, labels?: Labels) => void;
  readonly set: (name: MetricName, value: number, labels?: Labels) => void;
  /** Forgets all label sets of a series. */
  readonly reset: (name: MetricName) => void;
  /** Sets a counter that somebody else counts. */
  readonly setTotal: (name: MetricName, total: number, labels?: Labels) => void;
  /** The text of /metrics; `collect` is asked for gauges first. */
  readonly text: () => Promise<string>;
};

/** Values that keep their spelling: build data and hashes of ours. */
const verbatim = new Set(['version', 'commit', 'build_date', 'dirty', 'hash']);

function bucketsOf(name: string): number[] {
  return name.endsWith('_seconds') ? durationBucketsSeconds : itemBuckets;
}

/** @param collect  sets the gauges that are read only when asked */
export function createMetrics(collect: (metrics: Metrics) => void): Metrics {
  const registry = new Registry();
  const counters = new Map<string, Counter>();
  const gauges = new Map<string, Gauge>();
  const histograms = new Map<string, Histogram>();
  for (const { name, type, labels, help } of metricSeries) {
    const options = { name, help, labelNames: [...labels], registers: [registry] };
    const short = name.slice(prefix.length);
    if (type === 'counter') counters.set(short, new Counter(options));
    if (type === 'gauge') gauges.set(short, new Gauge(options));
    if (type === 'histogram') histograms.set(short, new Histogram({ ...options, buckets: bucketsOf(name) }));
  }
  const metrics: Metrics = {
    count: (name, labels = none) => counters.get(name)?.inc(clean(labels)),
    observe: (name, value, labels = none) => histograms.get(name)?.observe(clean(labels), value),
    set: (name, value, labels = none) => gauges.get(name)?.set(clean(labels), value),
    reset: (name) => gauges.get(name)?.reset(),
    setTotal: (name, total, labels = none) => {
      const counter = counters.get(name);
      counter?.remove(clean(labels));
      counter?.inc(clean(labels), total);
    },
    text: async () => {
      collect(metrics);
      return registry.metrics();
    },
  };
  return metrics;
}

/** Of labels that nobody changes any more, so that what every call needs is cleaned once. */
const cleaned = new WeakMap<Labels, Record<string, string>>();

function clean(labels: Labels): Record<string, string> {
  const known = cleaned.get(labels);
  if (known !== undefined) return known;
  const made = cleanEach(labels);
  if (Object.isFrozen(labels)) cleaned.set(labels, made);
  return made;
}

function cleanEach(labels: Labels): Record<string, string> {
  const entries = Object.entries(labels);
  return Object.fromEntries(entries.map(([name, value]) => [name, verbatim.has(name) ? value : labelValue(value)]));
}
