// The allow-list of the log: what is not named here is not written, whoever passes it. Order here is order in the line.

/** Fields of a line besides ts, level, message and process (observability 3). */
export const logFields = [
  'operation',
  'openbao_operation',
  'status',
  'duration_ms',
  'method',
  'grpc_status',
  'key_id_hash',
  'transit_key_version',
  'previous_key_id_hash',
  'previous_transit_key_version',
  'error_class',
  'reason',
  'detail',
  'finding',
  'http_status',
  'field',
  'probe_kind',
  'trigger',
  'healthz',
  'panic_recovered',
  'panic_type',
  'openbao_request_id',
  'request_uid_hash',
  'debug_correlation_incident',
  'debug_correlation_expires_at',
  'check',
  'name',
  'hint',
  'generation',
  'privilege',
  'socket_path',
  'metrics_address',
  'health_address',
  'pid',
  'exit_code',
  'signal',
  'delay_ms',
  'next_try_ms',
  'waiting_ms',
  'restarts',
  'calls_cut',
  'status_code',
  'lag_ms',
  'suppressed',
  'version',
  'clock_difference_ms',
] as const;

export type LogField = (typeof logFields)[number];
export type LogFields = { readonly [name in LogField]?: string | number | boolean | undefined };
export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** Writes one event. `message` is the event's name, never a sentence with values in it. */
export type Log = (level: LogLevel, message: string, fields?: LogFields) => void;

/** Keeps what the allow-list names, in its order; texts are cut at 512 characters. */
export function allowedFields(fields: LogFields): Record<string, string | number | boolean> {
  const kept: Record<string, string | number | boolean> = {};
  for (const name of logFields) {
    const value = fields[name];
    if (value !== undefined) kept[name] = typeof value === 'string' ? value.slice(0, 512) : value;
  }
  return kept;
}
