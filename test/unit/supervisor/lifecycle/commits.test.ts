// Proposals in their order: one a second, five at once after a pause, none during a hand-over.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createCommits } from '../../../../supervisor/lifecycle/commits.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';

function bench() {
  const clock = createFakeClock();
  const done: number[] = [];
  const commits = createCommits(clock);
  const add = (...numbers: number[]) => {
    for (const number of numbers) commits.add(() => done.push(number));
  };
  return { clock, done, commits, add };
}

test('five are decided at once, the others one a second, in order', async () => {
  const { clock, done, add } = bench();
  add(1, 2, 3, 4, 5, 6, 7);
  assert.equal(done, [1, 2, 3, 4, 5]);
  await clock.advance(999);
  assert.is(done.length, 5);
  await clock.advance(1);
  assert.equal(done, [1, 2, 3, 4, 5, 6]);
  await clock.advance(1_000);
  assert.equal(done, [1, 2, 3, 4, 5, 6, 7]);
});

test('after one that took long nothing is decided for four times as long, and one at a time', async () => {
  const { clock, done, commits, add } = bench();
  const costly = Promise.withResolvers<void>();
  commits.add(() => costly.promise);
  add(1, 2);
  await clock.advance(1_500);
  assert.equal(done, [], 'not before the answer to the first');
  costly.resolve();
  await clock.settle();
  await clock.advance(5_999);
  assert.equal(done, []);
  await clock.advance(1);
  assert.equal(done, [1, 2]);
});

test('a quick one holds nobody up, nor does one that fails', async () => {
  const { clock, done, commits, add } = bench();
  commits.add(() => Promise.reject(new Error('no')));
  add(1);
  await clock.settle();
  assert.equal(done, [1]);
});

test('a pause of five seconds gives back five and no more', async () => {
  const { clock, done, add } = bench();
  add(1, 2, 3, 4, 5);
  await clock.advance(60_000);
  add(6, 7, 8, 9, 10, 11);
  assert.is(done.length, 10);
});

test('one that comes a second after the last token goes at once', async () => {
  const { clock, done, add } = bench();
  add(1, 2, 3, 4, 5);
  await clock.advance(1_000);
  add(6);
  assert.is(done.length, 6);
  add(7);
  assert.is(done.length, 6);
});

test('during a hand-over nothing is decided, and then what waited, in its order and at its pace', async () => {
  const { clock, done, commits, add } = bench();
  commits.hold(true);
  add(1, 2, 3, 4, 5, 6);
  await clock.advance(60_000);
  assert.equal(done, []);
  commits.hold(false);
  assert.equal(done, [1, 2, 3, 4, 5]);
  await clock.advance(1_000);
  assert.is(done.length, 6);
});

test('a hold that begins while one waits for its second keeps it', async () => {
  const { clock, done, commits, add } = bench();
  add(1, 2, 3, 4, 5, 6);
  commits.hold(true);
  await clock.advance(5_000);
  assert.is(done.length, 5);
  commits.hold(false);
  assert.is(done.length, 6);
});

test('one that throws, at once or later, ends nothing: the next is decided', async () => {
  const { clock, done, commits, add } = bench();
  commits.add(() => {
    throw new Error('at once');
  });
  commits.add(() => Promise.reject(new Error('later')));
  add(1, 2);
  await clock.settle();
  assert.equal(done, [1, 2]);
});

test.run();
