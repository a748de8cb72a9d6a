// The log of both processes: one encoder (pino), the allow-list in front of it, and a bound on repeated warnings.
// The caller brings pino's destination and the clock; nothing here writes anything itself.

import { type DestinationStream, type Logger, pino } from 'pino';
import type { Clock } from '../time/clock.ts';
import { allowedFields, type Log, type LogFields, type LogLevel } from './fields.ts';

export type LoggerOptions = {
  readonly process: 'supervisor' | 'plugin';
  readonly level: LogLevel;
  readonly format: 'json' | 'text';
};

/** Identical warnings, by event and class, that are written in one second; the rest is counted. */
const repeatsPerSecond = 10; // control: log.repeats

/**
 * Makes the log function. Levels below `options.level` cost nothing.
 *
 * @param write  receives whole lines with their newline
 */
export function createLog(
  options: LoggerOptions,
  clock: Pick<Clock, 'nowMs' | 'wallMs'>,
  write: (line: string) => void,
): Log {
  const destination: DestinationStream = {
    write: (line) => write(options.format === 'json' ? line : toTextLine(line)),
  };
  const logger = pino(
    {
      base: { process: options.process },
      level: options.level,
      messageKey: 'message',
      timestamp: () => `,"ts":"${new Date(clock.wallMs()).toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination,
  );
  return limitRepeats((level, message, fields) => logger[level](allowedFields(fields ?? {}), message), logger, clock);
}

function limitRepeats(log: Log, logger: Logger, clock: Pick<Clock, 'nowMs'>): Log {
  const windows = new Map<string, { second: number; written: number; suppressed: number }>();
  return (level, message, fields = {}) => {
    if (!logger.isLevelEnabled(level)) return;
    if (level !== 'warn') return log(level, message, fields);
    const key = `${message} ${fields.error_class ?? ''} ${fields.reason ?? ''}`;
    const second = Math.floor(clock.nowMs() / 1000);
    const last = windows.get(key);
    if (last?.second === second && last.written >= repeatsPerSecond) {
      last.suppressed += 1;
      return;
    }
    if (windows.size > 1000) windows.clear();
    const isSameSecond = last?.second === second;
    windows.set(key, { second, written: isSameSecond ? last.written + 1 : 1, suppressed: 0 });
    log(level, message, withSuppressed(fields, isSameSecond ? 0 : (last?.suppressed ?? 0)));
  };
}

function withSuppressed(fields: LogFields, suppressed: number): LogFields {
  return suppressed === 0 ? fields : { ...fields, suppressed };
}

/** A JSON line of ours as text for people: time, level, process, event, then name=value in the same order. */
export function toTextLine(line: string): string {
  const { ts, level, process, message, ...fields } = JSON.parse(line) as Record<string, LogValue | LogValue[]>;
  const pairs = Object.entries(fields).map(([name, value]) => `${name}=${valueText(value)}`);
  const head = [ts, String(level).toUpperCase().padEnd(5), String(process).padEnd(10), message];
  return `${[...head, ...pairs].join(' ')}\n`;
}

type LogValue = string | number | boolean;

function valueText(value: LogValue | readonly LogValue[]): string {
  return typeof value === 'object' ? JSON.stringify(value) : quoted(String(value));
}

function quoted(text: string): string {
  return /^[\w.:/@+-]+$/u.test(text) ? text : JSON.stringify(text);
}
