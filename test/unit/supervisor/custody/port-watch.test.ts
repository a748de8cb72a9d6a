// A port that somebody else has is tried again, told once, and served when it is ours.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { PortName } from '../../../../shared/channel/messages.ts';
import type { BoundTcp } from '../../../../supervisor/custody/bound-handle.ts';
import { portRetryMs, replaceSpacingMs, watchPorts } from '../../../../supervisor/custody/port-watch.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';

function createBench(isTaken: { metrics: boolean; health: boolean }) {
  const clock = createFakeClock();
  const ours = new Set<PortName>();
  const given = new Set<PortName>();
  const withheld = new Set<PortName>();
  const told: string[] = [];
  const counters = { portsTaken: [] as PortName[] };
  const names = ['metrics', 'health'] as const;
  for (const name of names) if (!isTaken[name]) ours.add(name);
  for (const name of ours) given.add(name);
  const port: BoundTcp = { handle: { fd: 9, close: () => {} }, host: '127.0.0.1', port: 1 };
  const look = watchPorts({
    clock,
    log: (level, message, fields) => told.push(`${level} ${message} ${fields?.name ?? ''}`),
    counters,
    taken: () => names.filter((name) => !ours.has(name)),
    bind: (name) => {
      if (name === 'health' && isTaken.health) throw new Error('no such address now');
      return isTaken[name] ? undefined : port;
    },
    bound: (name) => ours.add(name),
    unserved: () => [...ours].filter((name) => !given.has(name)),
    withheld: () => [...withheld],
    countersChanged: () => told.push('counters'),
    replace: () => told.push('replace'),
  });
  return { clock, ours, given, withheld, told, counters, look };
}

test('nothing is said while every port is ours', async () => {
  const { clock, told, counters } = createBench({ metrics: false, health: false });
  await clock.advance(10 * portRetryMs);
  assert.equal([told, counters.portsTaken], [[], []]);
});

test('a port that is taken is told once, tried every 5 s, and served by a new plugin when it is free', async () => {
  const taken = { metrics: true, health: true };
  const { clock, told, counters, given } = createBench(taken);
  assert.equal(told.splice(0), ['warn port.taken metrics', 'warn port.taken health', 'counters']);
  await clock.advance(3 * portRetryMs);
  assert.equal([told, counters.portsTaken], [[], ['metrics', 'health']]);
  taken.metrics = false;
  await clock.advance(portRetryMs);
  assert.equal(told.splice(0), ['info port.bound metrics', 'counters', 'replace']);
  assert.equal(counters.portsTaken, ['health']);
  // The replacement was refused: it is asked for again, a minute later.
  await clock.advance(replaceSpacingMs - portRetryMs);
  assert.equal(told, []);
  await clock.advance(portRetryMs);
  assert.equal(told.splice(0), ['replace']);
  given.add('metrics');
  await clock.advance(3 * portRetryMs);
  assert.equal(told, []);
});

test('a port that a plugin could not open is told at once', () => {
  const { told, ours, look, counters } = createBench({ metrics: false, health: false });
  ours.delete('metrics');
  look();
  assert.equal([told, counters.portsTaken], [['warn port.taken metrics', 'counters'], ['metrics']]);
});

test('a plugin that has a port which was let go is replaced, once a minute, whatever was replaced for another reason', async () => {
  const { clock, ours, given, withheld, told } = createBench({ metrics: false, health: false });
  given.delete('metrics');
  ours.delete('health');
  withheld.add('health');
  await clock.advance(portRetryMs);
  assert.equal(told.splice(0), ['replace', 'replace']);
  await clock.advance(replaceSpacingMs - portRetryMs);
  assert.equal(told, []);
  withheld.clear();
  given.add('metrics');
  await clock.advance(2 * replaceSpacingMs);
  assert.equal(told, []);
});

test.run();
