// Who may stay at a port of the diagnostics, and who makes room.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  closingMs,
  createVisitors,
  heardMs,
  maxCrowd,
  maxVisitMs,
  maxVisitors,
  slowAfterMs,
} from '../../../../plugin/telemetry/visitors.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';

function createBench() {
  const clock = createFakeClock();
  const refused: string[] = [];
  const ended: number[] = [];
  const visitors = createVisitors(clock, (reason) => refused.push(reason));
  const enter = (id: number, isServed = false) => visitors.enter({ isServed, end: () => ended.push(id) });
  return { clock, refused, ended, visitors, enter };
}

test('as many as the bound stay; of one more the slowest goes, when the last one has had the time to be heard', async () => {
  const { clock, ended, refused, enter } = createBench();
  enter(0);
  await clock.advance(slowAfterMs);
  for (let id = 1; id < maxVisitors; id += 1) enter(id);
  await clock.advance(heardMs);
  assert.equal(ended, []);
  enter(maxVisitors);
  await clock.advance(heardMs - 1);
  assert.equal(ended, []);
  await clock.advance(1);
  assert.equal([ended, refused], [[0], ['crowded']]);
});

test('those that wait for their answer stay while somebody has not asked', async () => {
  const { clock, ended, refused, enter } = createBench();
  enter(0, true);
  for (let id = 1; id <= maxVisitors; id += 1) enter(id);
  await clock.advance(heardMs);
  assert.equal([ended, refused], [[1], ['crowded']]);
});

test('the last to come stays when all have asked', async () => {
  const { clock, ended, refused, enter } = createBench();
  for (let id = 0; id <= maxVisitors; id += 1) enter(id, true);
  await clock.advance(heardMs);
  assert.equal([ended, refused], [[0], []]);
});

test('of those that have asked as little as each other the one that came first goes, whoever entered before', async () => {
  const { clock, ended, enter } = createBench();
  for (let id = 0; id < maxVisitors; id += 1) {
    enter(id);
    await clock.advance(1);
  }
  enter(maxVisitors);
  enter(maxVisitors + 1);
  await clock.advance(heardMs);
  assert.equal(ended, [0, 1]);
});

test('room is made with one timer however many come, and made again when it is crowded again', async () => {
  const { clock, ended, enter } = createBench();
  for (let id = 0; id < maxVisitors + 5; id += 1) enter(id);
  assert.is(clock.timers(), maxVisitors + 5 + 1);
  await clock.advance(heardMs);
  assert.equal(ended, [0, 1, 2, 3, 4]);
  for (const id of [100, 101]) enter(id);
  await clock.advance(heardMs);
  assert.equal(ended.slice(5), [5, 6]);
});

test('however quickly they come, a crowd stays bounded, and the last one is in it', () => {
  const { ended, enter } = createBench();
  for (let id = 0; id < maxCrowd + 10; id += 1) enter(id);
  assert.equal(
    ended,
    Array.from({ length: 10 }, (_, id) => id),
  );
});

test('nobody stays longer than a visit may take, and one that left is not ended', async () => {
  const { clock, ended, refused, enter } = createBench();
  const left = enter(0);
  enter(1);
  left();
  await clock.advance(maxVisitMs - 1);
  assert.equal(ended, []);
  await clock.advance(1);
  assert.equal([ended, refused], [[1], ['slow']]);
  assert.is(clock.timers(), 0);
});

test('when the listener closes, those that are there are heard for a moment, and their end is waited for', async () => {
  const { clock, ended, visitors, enter } = createBench();
  const leave = [enter(0), enter(1, true), enter(2)];
  let isClosed = false;
  void visitors.close().then(() => {
    isClosed = true;
  });
  await clock.advance(heardMs - 1);
  assert.equal(ended, []);
  leave[0]?.();
  await clock.advance(1);
  assert.equal(ended, [2]);
  leave[2]?.();
  await clock.settle();
  assert.not.ok(isClosed, 'one is still reading its answer');
  leave[1]?.();
  await clock.settle();
  assert.ok(isClosed);
  assert.is(clock.timers(), 0);
});

test('one that stays when the listener closes is waited for a second and no longer', async () => {
  const { clock, visitors, enter } = createBench();
  enter(0, true);
  let isClosed = false;
  void visitors.close().then(() => {
    isClosed = true;
  });
  await clock.advance(closingMs - 1);
  assert.not.ok(isClosed);
  await clock.advance(1);
  assert.ok(isClosed);
});

test('a listener without visitors is closed at once', async () => {
  const { clock, visitors } = createBench();
  await visitors.close();
  assert.is(clock.timers(), 0);
});

test.run();
