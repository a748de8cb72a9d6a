// A line that a plugin says is of its log, taken apart: only what its log could have written goes on, as its own. Under an event that
// the supervisor writes it could pass for the supervisor to whoever looks at the name of the event alone.

import { isPluginEvent, type LogEventName } from './events.ts';
import { allowedFields, type LogFields, type LogLevel, logFields } from './fields.ts';

/** What one line of a plugin's log holds. */
export type LogEvent = {
  readonly level: LogLevel;
  readonly message: LogEventName;
  readonly fields: LogFields;
};

const levels: readonly string[] = ['debug', 'info', 'warn', 'error'];
const known: readonly string[] = ['level', 'ts', 'process', 'message', ...logFields];

/**
 * Reads a line of a plugin's log in JSON.
 *
 * @param text  without its newline; the caller bounds its length
 * @returns undefined when it is anything else: no JSON object, an unknown member, a value that no such member has, or an event that no
 * plugin writes
 */
export function parseLogLine(text: string): LogEvent | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const { level, ts, process: _, message, ...fields } = value as Record<string, unknown>;
  const isKnown = Object.keys(value).every((name) => known.includes(name));
  if (!isKnown || !isLevel(level) || !isTime(ts) || !isPluginEvent(message)) return undefined;
  if (!Object.entries(fields).every(([name, one]) => isValue(name, one))) return undefined;
  return { level, message, fields: fields as LogFields };
}

/** The same line again, in JSON, as one of the plugin. @param ts  when it was read, ISO 8601: its own time is nobody's */
export function pluginLine({ level, message, fields }: LogEvent, ts: string): string {
  // control: relay.process
  return `${JSON.stringify({ level, ts, process: 'plugin', ...allowedFields(fields), message })}\n`;
}

function isLevel(value: unknown): value is LogLevel {
  return typeof value === 'string' && levels.includes(value);
}

function isTime(value: unknown): value is string {
  return typeof value === 'string' && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/u.test(value);
}

function isValue(name: string, value: unknown): boolean {
  if (name === 'problems') return Array.isArray(value) && value.every((one) => typeof one === 'string');
  return ['string', 'number', 'boolean'].includes(typeof value);
}
