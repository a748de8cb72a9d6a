// Limits in time beside a signal: which ends first, and that a signal that has ended before is seen at once.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ProviderError } from '../../../../shared/errors/error.ts';
import { pause, untilAborted, withDeadline } from '../../../../shared/time/deadline.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';
import { rejectsClass } from '../../../support/throws.ts';

const canceled = () => new ProviderError('canceled', 'x');
const late = () => new ProviderError('timeout', 'x');

function gone(): AbortSignal {
  const controller = new AbortController();
  controller.abort(canceled());
  return controller.signal;
}

/** Work that ends when its signal does. */
const obedient = (signal: AbortSignal) =>
  new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));

test('work for a caller who has left is not begun', async () => {
  let isBegun = false;
  const work = async () => {
    isBegun = true;
  };
  await rejectsClass(withDeadline({ timeoutMs: 1_000, signal: gone() }, late, createFakeClock(), work), 'canceled');
  assert.not.ok(isBegun);
});

test('work ends at its limit, or with the signal of the caller when that is earlier', async () => {
  const clock = createFakeClock();
  const limited = rejectsClass(withDeadline({ timeoutMs: 1_000 }, late, clock, obedient), 'timeout');
  await clock.advance(1_000);
  await limited;
  const caller = new AbortController();
  const left = rejectsClass(
    withDeadline({ timeoutMs: 1_000, signal: caller.signal }, late, clock, obedient),
    'canceled',
  );
  await clock.advance(999);
  caller.abort(canceled());
  await left;
});

test('without a limit of its own work ends only with the signal', async () => {
  const clock = createFakeClock();
  const caller = new AbortController();
  const limits = { timeoutMs: Number.POSITIVE_INFINITY, signal: caller.signal };
  const left = rejectsClass(withDeadline(limits, late, clock, obedient), 'canceled');
  await clock.advance(1_000_000);
  caller.abort(canceled());
  await left;
});

test('a wait that owns nothing ends with the signal, also with one that has ended before, and the work goes on', async () => {
  const work = Promise.withResolvers<number>();
  await rejectsClass(untilAborted(work.promise, gone()), 'canceled');
  const caller = new AbortController();
  const left = rejectsClass(untilAborted(work.promise, caller.signal), 'canceled');
  caller.abort(canceled());
  await left;
  work.resolve(1);
  assert.is(await untilAborted(work.promise, undefined), 1);
});

test('a pause ends in time, when it is woken, and at once when the signal has ended', async () => {
  const clock = createFakeClock();
  let ended = 0;
  const end = () => {
    ended += 1;
  };
  void pause(clock, 1_000).then(end);
  let wake = () => {};
  void pause(clock, 5_000, undefined, (early) => (wake = early)).then(end);
  await clock.advance(999);
  assert.is(ended, 0);
  await clock.advance(1);
  assert.is(ended, 1);
  wake();
  await clock.advance(0);
  assert.is(ended, 2);
  await pause(clock, 1_000, gone());
});

test.run();
