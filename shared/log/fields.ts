// The allow-list of the log: what is not named here is not written, whoever passes it. Order here is order in the line; docs/logs.md is
// made from it.

import type { LogEventName } from './events.ts';

/** Fields of a line besides ts, level, message and process, in the order of the line: what kind of value, and what it says. */
export const logFieldRows = {
  operation: ['text', 'what was done, as `area.action`'],
  openbao_operation: ['text', 'the request to OpenBao'],
  status: ['text', '`ok`, `error`, `skipped`, or the class of a failure'],
  duration_ms: ['number', 'how long it took, milliseconds'],
  grpc_status: ['text', 'the gRPC status by name'],
  key_id_hash: ['text', 'hash of a key_id'],
  transit_key_version: ['number', 'version of the Transit key'],
  previous_key_id_hash: ['text', 'hash of the key_id before'],
  previous_transit_key_version: ['number', 'version before'],
  error_class: ['text', 'class of the failure; see errors.md'],
  reason: ['text', 'a word of a closed list that belongs to the event'],
  detail: ['text', 'why a login or a TLS connection failed; see errors.md'],
  finding: ['text', 'what is wrong with key, mount, rights or CA; see errors.md'],
  http_status: ['number', 'HTTP status of the answer of OpenBao'],
  field: ['text', 'field of the configuration, or member of the metadata'],
  probe_kind: ['text', '`metadata` or `deep`'],
  trigger: ['text', 'what a probe was made for'],
  healthz: ['text', 'what Status says'],
  panic_recovered: ['boolean', 'an exception was caught in a handler'],
  panic_type: ['text', 'its kind'],
  openbao_request_id: ['text', 'request id of OpenBao, while correlation is on'],
  request_uid_hash: ['text', 'keyed hash of the uid of a request, while correlation is on'],
  debug_correlation_incident: ['text', 'the incident of `logging.debugCorrelation`'],
  debug_correlation_expires_at: ['text', 'when correlation ends'],
  check: ['text', 'check of the gate; see errors.md'],
  name: ['text', 'what the event is about: a credential, a directory, a port, a bound, a field'],
  hint: ['text', 'what to do, one sentence'],
  problem_count: ['number', 'how many problems the configuration has'],
  problems: ['list of texts', 'all of them, one sentence each'],
  launch: ['number', 'which launch of a plugin, counted from 1'],
  credential_generation: ['number', 'of the file of a credential, counted from 1'],
  state_generation: ['number', 'of the registry state'],
  privilege: ['text', '`separate` or `same-user`'],
  socket_path: ['text', 'path of the KMS socket'],
  metrics_address: ['text', 'where /metrics is served'],
  health_address: ['text', 'where /live and /ready are served'],
  pid: ['number', 'process id'],
  exit_code: ['number', 'exit code'],
  signal: ['text', 'signal that ended a process'],
  next_try_ms: ['number', 'until the next try, milliseconds'],
  calls_cut: ['number', 'calls that were not finished'],
  suppressed: ['number', 'how many equal lines were not written'],
  output: ['text', 'what a plugin wrote that is no event of its log'],
} as const satisfies Record<string, readonly ['text' | 'number' | 'boolean' | 'list of texts', string]>;

export const logFields = Object.keys(logFieldRows) as readonly LogField[];

export type LogField = keyof typeof logFieldRows;
type LogValue = string | number | boolean;
/** The one field that is a list, with a bound of its own. */
type ListField = 'problems';
export type LogFields = { readonly [name in Exclude<LogField, ListField>]?: LogValue | undefined } & {
  readonly [name in ListField]?: readonly string[] | undefined;
};
export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** Writes one event. */
export type Log = (level: LogLevel, event: LogEventName, fields?: LogFields) => void;

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
  return text.slice(0, maxTextLength); // control: log.text-cut
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
