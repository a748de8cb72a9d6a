// The log: levels, the bound on warnings that repeat, and the form for people.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createLog, type LoggerOptions } from '../../../../shared/log/logger.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';

function bench(options: Partial<LoggerOptions> = {}) {
  const clock = createFakeClock(Date.parse('2026-01-01T00:00:00.000Z'));
  const lines: string[] = [];
  const log = createLog({ process: 'plugin', level: 'info', format: 'json', ...options }, clock, (line) =>
    lines.push(line),
  );
  const suppressed = () => lines.splice(0).map((line) => (JSON.parse(line) as { suppressed?: number }).suppressed);
  return { clock, lines, log, suppressed };
}

test('of one warning ten are written in a second, and the first of a later second says how many were not', async () => {
  const { clock, log, suppressed } = bench();
  const warn = (count: number) => {
    for (let said = 0; said < count; said += 1) log('warn', 'bound.reached', { reason: 'a' });
  };
  warn(13);
  assert.equal(suppressed(), Array(10).fill(undefined));
  await clock.advance(999);
  warn(1);
  assert.equal(suppressed(), []);
  await clock.advance(1);
  warn(2);
  assert.equal(suppressed(), [4, undefined]);
});

test('another event, class or reason is another warning, and what is worse or lighter is never held back', () => {
  const { log, suppressed } = bench();
  for (let said = 0; said < 10; said += 1) log('warn', 'bound.reached', { reason: 'a' });
  log('warn', 'bound.reached', { reason: 'b' });
  log('warn', 'bound.reached', { reason: 'a', error_class: 'timeout' });
  log('warn', 'port.taken', { reason: 'a' });
  for (let said = 0; said < 11; said += 1) log('error', 'gate.refused', { reason: 'a' });
  for (let said = 0; said < 11; said += 1) log('info', 'port.bound', { name: 'a' });
  assert.equal(suppressed(), Array(35).fill(undefined));
});

test('a level below that of the log is not written', () => {
  const { log, lines } = bench({ level: 'warn' });
  log('info', 'port.bound', { name: 'a' });
  log('warn', 'port.taken', { name: 'a' });
  assert.is(lines.length, 1);
});

test('for people a line has its time, level, process and event, and a value that is no word stands in quotes', () => {
  const { log, lines } = bench({ format: 'text' });
  log('warn', 'port.taken', { name: 'metrics', hint: 'find it' });
  assert.equal(lines, ['2026-01-01T00:00:00.000Z WARN  plugin     port.taken name=metrics hint="find it"\n']);
});

test.run();
