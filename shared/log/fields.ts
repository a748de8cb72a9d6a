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
  'problem_count',
  'problems',
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
  'output',
] as const;

export type LogField = (typeof logFields)[number];
type LogValue = string | number | boolean;
/** The one field that is a list, with a bound of its own. */
type ListField = 'problems';
export type LogFields = { readonly [name in Exclude<LogField, ListField>]?: LogValue | undefined } & {
  readonly [name in ListField]?: readonly string[] | undefined;
};
export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** Writes one event. `message` is the event's name, never a sentence with values in it. */
export type Log = (level: LogLevel, message: string, fields?: LogFields) => void;

const maxTextLength = 512;
const maxListBytes = 8 * 1024;

/** Keeps what the allow-list names, in its order; texts are cut at 512 characters, a list at 8 KiB, and says how much is missing. */
export function allowedFields(fields: LogFields): Record<string, LogValue | readonly string[]> {
  const kept: Record<string, LogValue | readonly string[]> = {};
  for (const name of logFields) {
    const value = fields[name];
    if (typeof value === 'string') kept[name] = cutText(value);
    else if (typeof value === 'object') kept[name] = cutList(value);
    else if (value !== undefined) kept[name] = value;
  }
  return kept;
}

function cutText(text: string): string {
  return text.slice(0, maxTextLength);
}

function cutList(items: readonly string[]): readonly string[] {
  const kept: string[] = [];
  let sizeBytes = 0;
  for (const item of items) {
    const text = cutText(item);
    sizeBytes += Buffer.byteLength(text, 'utf8');
    if (sizeBytes > maxListBytes) return [...kept, `and ${items.length - kept.length} more`];
    kept.push(text);
  }
  return kept;
}
