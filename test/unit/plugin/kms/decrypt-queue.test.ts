// Decrypts that wait: sharing, slots, order, deadlines, and what happens when nobody waits any more.

import { getEventListeners } from 'node:events';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DecryptQueue } from '../../../../plugin/kms/decrypt-queue.ts';
import { ProviderError } from '../../../../shared/errors/error.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';
import { rejectsClass } from '../../../support/throws.ts';

type Job = { readonly identity: string; readonly signal: AbortSignal; readonly answer: PromiseWithResolvers<Buffer> };

function createBench(slots = 2, maxWaiting = 3, full: () => void = () => {}) {
  const clock = createFakeClock();
  const jobs: Job[] = [];
  const send = (identity: string, signal: AbortSignal) => {
    const answer = Promise.withResolvers<Buffer>();
    jobs.push({ identity, signal, answer });
    return answer.promise;
  };
  const queue = new DecryptQueue<string>({ clock, slots, maxWaiting, marginMs: 100, full, send });
  const decrypt = (
    identity: string,
    deadlineMs = 2_000,
    controller = new AbortController(),
    connection: object = queue,
  ) => queue.decrypt({ identity, connection, deadlineMs, signal: controller.signal, item: identity });
  return { clock, queue, jobs, decrypt };
}

test('identical calls in flight share one call and get copies of their own', async () => {
  const { jobs, decrypt } = createBench();
  const calls = Array.from({ length: 100 }, () => decrypt('same'));
  jobs[0]?.answer.resolve(Buffer.from('secret'));
  const answers = await Promise.all(calls);

  assert.is(jobs.length, 1);
  answers[0]?.fill(0);
  assert.is(answers[1]?.toString(), 'secret');
});

test('identical calls that wait share too', async () => {
  const { jobs, decrypt } = createBench(1);
  const calls = [decrypt('a'), decrypt('b'), decrypt('b')];
  jobs[0]?.answer.resolve(Buffer.from('1'));
  await calls[0];
  assert.is(jobs.length, 2);
  jobs[1]?.answer.resolve(Buffer.from('2'));
  await Promise.all(calls);
});

test('distinct calls above the slots wait in order and are all served', async () => {
  const { jobs, decrypt, clock } = createBench(2, 10);
  const calls = ['a', 'b', 'c', 'd'].map((identity) => decrypt(identity));
  assert.equal(
    jobs.map(({ identity }) => identity),
    ['a', 'b'],
  );
  for (let index = 0; index < 4; index += 1) {
    jobs[index]?.answer.resolve(Buffer.from('x'));
    await clock.settle();
  }
  await Promise.all(calls);

  assert.equal(
    jobs.map(({ identity }) => identity),
    ['a', 'b', 'c', 'd'],
  );
});

test('only a full queue refuses', async () => {
  const { jobs, decrypt, queue } = createBench(1, 2);
  const calls = [decrypt('a'), decrypt('b'), decrypt('c')];

  await rejectsClass(decrypt('d'), 'concurrency_limit');
  assert.is(queue.waiting, 2);
  for (const call of calls) call.catch(() => undefined);
  jobs[0]?.answer.reject(new Error('end'));
});

test('a full queue is told each time that it refuses, and not while there is room', async () => {
  let told = 0;
  const { decrypt, jobs } = createBench(1, 1, () => {
    told += 1;
  });
  const calls = [decrypt('a'), decrypt('b')];
  assert.is(told, 0);
  await rejectsClass(decrypt('c'), 'concurrency_limit');
  assert.is(told, 1);
  for (const call of calls) call.catch(() => undefined);
  jobs[0]?.answer.reject(new Error('end'));
});

test('a caller’s signal is let go with its answer', async () => {
  const { jobs, decrypt } = createBench();
  const controller = new AbortController();
  const calls = [decrypt('a', 2_000, controller), decrypt('b', 2_000, controller)];
  assert.is(getEventListeners(controller.signal, 'abort').length, 2);
  jobs[0]?.answer.resolve(Buffer.from('x'));
  jobs[1]?.answer.reject(new ProviderError('bao_sealed', ''));
  await Promise.allSettled(calls);
  assert.is(getEventListeners(controller.signal, 'abort').length, 0);
});

test('a connection that fills the queue loses the newest of its calls to another one', async () => {
  const { jobs, decrypt, queue, clock } = createBench(1, 2);
  const calls = [decrypt('a'), decrypt('b')];
  const newest = rejectsClass(decrypt('c'), 'concurrency_limit');
  const other = decrypt('d', 2_000, new AbortController(), {});
  await newest;
  assert.is(queue.waiting, 2);
  for (let index = 0; index < 3; index += 1) {
    jobs[index]?.answer.resolve(Buffer.from('x'));
    await clock.settle();
  }
  await Promise.all([...calls, other]);
});

test('connections take turns: nobody waits behind all that another one has asked for', async () => {
  const { jobs, decrypt, clock } = createBench(2, 10);
  const calls = ['a', 'b', 'c', 'd'].map((identity) => decrypt(identity));
  calls.push(decrypt('other', 2_000, new AbortController(), {}));
  for (let index = 0; index < 5; index += 1) {
    jobs[index]?.answer.resolve(Buffer.from('x'));
    await clock.settle();
  }
  await Promise.all(calls);

  assert.equal(
    jobs.map(({ identity }) => identity),
    ['a', 'b', 'other', 'c', 'd'],
  );
});

test('a call whose deadline cannot be met any more is refused before it, and never begins', async () => {
  const { jobs, decrypt, clock } = createBench(1);
  const first = decrypt('a', 5_000);
  const late = rejectsClass(decrypt('b', 1_000), 'concurrency_limit');
  await clock.advance(900);
  await late;
  jobs[0]?.answer.resolve(Buffer.from('x'));
  await first;
  await clock.settle();

  assert.is(jobs.length, 1);
});

test('a call is cancelled only when its last waiter is gone', async () => {
  const { jobs, decrypt, clock } = createBench();
  const [one, other] = [new AbortController(), new AbortController()];
  const calls = [
    rejectsClass(decrypt('a', 2_000, one), 'canceled'),
    rejectsClass(decrypt('a', 2_000, other), 'canceled'),
  ];
  one.abort(new ProviderError('canceled', ''));
  await clock.settle();
  assert.not.ok(jobs[0]?.signal.aborted);
  other.abort(new ProviderError('canceled', ''));
  await clock.settle();

  assert.ok(jobs[0]?.signal.aborted);
  await Promise.all(calls);
});

test('a failure is the answer of everyone who shared, and the next identical call tries anew', async () => {
  const { jobs, decrypt, clock } = createBench();
  const calls = [rejectsClass(decrypt('a'), 'bao_sealed'), rejectsClass(decrypt('a'), 'bao_sealed')];
  jobs[0]?.answer.reject(new ProviderError('bao_sealed', ''));
  await Promise.all(calls);
  await clock.settle();
  const again = decrypt('a');
  jobs[1]?.answer.resolve(Buffer.from('x'));

  assert.is((await again).toString(), 'x');
});

test('a call that has ended, well or not, leaves its slot to one that comes later', async () => {
  const { jobs, decrypt, clock } = createBench(1);
  const first = decrypt('a');
  jobs[0]?.answer.resolve(Buffer.from('x'));
  await first;
  await clock.settle();
  const second = rejectsClass(decrypt('b'), 'bao_sealed');
  assert.is(jobs.length, 2);
  jobs[1]?.answer.reject(new ProviderError('bao_sealed', ''));
  await second;
  await clock.settle();
  const third = decrypt('c');
  assert.is(jobs.length, 3);
  jobs[2]?.answer.resolve(Buffer.from('x'));
  await third;
});

test('no timer is left when everything is answered', async () => {
  const { jobs, decrypt, clock } = createBench(1);
  const calls = [decrypt('a'), decrypt('b')];
  jobs[0]?.answer.resolve(Buffer.from('x'));
  await clock.settle();
  jobs[1]?.answer.resolve(Buffer.from('x'));
  await Promise.all(calls);

  assert.is(clock.timers(), 0);
});

test('when its last waiter has left the plaintext is wiped, and no copy of a caller is', async () => {
  const { jobs, decrypt, clock } = createBench();
  const calls = [decrypt('same'), decrypt('same')];
  const plaintext = Buffer.from('secret');
  jobs[0]?.answer.resolve(plaintext);
  const answers = await Promise.all(calls);
  await clock.settle();
  assert.equal([...plaintext], [0, 0, 0, 0, 0, 0]);
  assert.equal(
    answers.map((answer) => answer.toString()),
    ['secret', 'secret'],
  );
});

test.run();
