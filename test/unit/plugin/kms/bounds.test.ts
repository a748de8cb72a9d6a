// The bounds of the KMS socket as decisions: fair shares, connections, half-open streams. The numbers are those of bounds.ts.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  type BoundName,
  goodbyeMs,
  idleConnectionMs,
  maxAnnotations,
  maxConnections,
  maxDecryptCalls,
  maxHalfOpenBytes,
  maxHeaderBytes,
  maxResets,
  maxRetainedBytes,
  maxStreams,
  maxWaiting,
  restingConnectionMs,
  streamBytes,
  transferMs,
  unusedConnectionMs,
} from '../../../../plugin/kms/bounds.ts';
import { Connections } from '../../../../plugin/kms/connections.ts';
import { FairShare } from '../../../../plugin/kms/fair-share.ts';
import { HalfOpenStreams } from '../../../../plugin/kms/half-open.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';
import { throwsClass } from '../../../support/throws.ts';

const mib = 1_024 * 1_024;

test('everything that the bounds allow at once fits in half of the heap limit of 64 MiB', () => {
  const callBytes = 6_144;
  assert.ok(maxHalfOpenBytes + maxDecryptCalls * callBytes + maxRetainedBytes <= 32 * mib);
  assert.equal(
    [maxConnections, maxStreams, maxWaiting, maxAnnotations, maxHalfOpenBytes / mib],
    [64, 1_024, 1_024, 16, 8],
  );
  assert.ok(streamBytes > callBytes && maxHeaderBytes <= streamBytes);
});

test('a connection that has most gives way to one that has less, and never to itself', () => {
  const share = new FairShare({ capacity: 3, yields: 'fairly' });
  const [greedy, honest] = [{}, {}];
  const lost: number[] = [];
  for (const number of [1, 2, 3]) share.take(greedy, 1, () => lost.push(number));
  throwsClass(() => share.take(greedy, 1, () => {}), 'concurrency_limit');
  share.take(honest, 1, () => lost.push(0));
  assert.equal(lost, [3], 'the newest of the greedy one');
  throwsClass(() => share.take(honest, 1, () => {}), 'concurrency_limit');
  assert.is(share.used, 3);
});

test('a share that is kept cannot be lost, and one that was lost cannot be kept', () => {
  const share = new FairShare({ capacity: 1, yields: 'always' });
  const first = share.take({}, 1, () => {});
  const second = share.take({}, 1, () => {});
  throwsClass(first.keep, 'concurrency_limit');
  second.keep();
  throwsClass(() => share.take({}, 1, () => {}), 'concurrency_limit');
  first.release();
  assert.is(share.used, 1);
  second.release();
  second.release();
  assert.is(share.used, 0);
});

test('shares are counted in their own unit: some small ones give way to a large one of another connection', () => {
  const share = new FairShare({ capacity: 10, yields: 'fairly' });
  const greedy = {};
  let lost = 0;
  for (let index = 0; index < 10; index += 1) share.take(greedy, 1, () => (lost += 1));
  share.take({}, 4, () => {});
  assert.equal([lost, share.used], [4, 10]);
});

test('whatever was given back or kept in between, the oldest or the newest of what can be lost makes room', () => {
  for (const yields of ['always', 'fairly'] as const) {
    const share = new FairShare({ capacity: 5, yields });
    const [greedy, honest] = [{}, {}];
    const lost: number[] = [];
    const shares = [0, 1, 2, 3, 4].map((number) => share.take(greedy, 1, () => lost.push(number)));
    // Of five the oldest, one in the middle and the newest leave; two come.
    for (const number of [0, 2, 4]) shares[number]?.release();
    shares[0]?.release();
    shares[1]?.keep();
    for (const number of [5, 6]) share.take(greedy, 1, () => lost.push(number));
    assert.is(share.used, 4);
    share.take(honest, 1, () => lost.push(-1));
    share.take(honest, 1, () => lost.push(-1));
    assert.equal(lost, yields === 'always' ? [3] : [6]);
    assert.is(share.used, 5);
  }
});

function createConnections() {
  const clock = createFakeClock();
  const reached: BoundName[] = [];
  const connections = new Connections(clock, (bound) => reached.push(bound));
  const ended: string[] = [];
  const open = (name: string) =>
    connections.open({ sayGoodbye: () => ended.push(`goodbye ${name}`), cut: () => ended.push(`cut ${name}`) });
  return { clock, connections, reached, ended, open };
}

/** One call from its first byte to its end. */
function serve(connection: ReturnType<Connections['open']>): void {
  connection.streamOpened();
  connection.answered();
  connection.streamClosed(false);
}

test('a newcomer is closed while all 64 are in use or new', async () => {
  const { clock, connections, reached, open, ended } = createConnections();
  for (let index = 0; index < 63; index += 1) open(String(index)).streamOpened();
  assert.ok(connections.hasRoom());
  open('new');
  await clock.advance(unusedConnectionMs - 1);
  assert.not.ok(connections.hasRoom());
  assert.equal([reached, ended], [['connections'], []]);
});

test('the one that never had an answer and is idle for longest makes room first, then one that rests', async () => {
  const { clock, connections, ended, open } = createConnections();
  const used = Array.from({ length: 62 }, (_, index) => open(String(index)));
  for (const connection of used) serve(connection);
  await clock.advance(10);
  open('older');
  await clock.advance(10);
  open('younger');
  await clock.advance(unusedConnectionMs);
  for (const name of ['a', 'b']) {
    assert.ok(connections.hasRoom());
    serve(open(name));
  }
  assert.equal(ended, ['cut older', 'cut younger']);
  assert.not.ok(connections.hasRoom());
  await clock.advance(restingConnectionMs);
  assert.ok(connections.hasRoom());
  assert.is(ended.at(-1), 'cut 0');
});

test('a connection with an open stream makes room for nobody and is not told to go, however long it lasts', async () => {
  const { clock, connections, ended, open } = createConnections();
  for (let index = 0; index < maxConnections; index += 1) {
    const connection = open(String(index));
    // Of two streams one has ended.
    connection.streamOpened();
    connection.streamOpened();
    connection.streamClosed(false);
  }
  await clock.advance(2 * idleConnectionMs);
  assert.not.ok(connections.hasRoom());
  assert.equal(ended, []);
});

test('a connection without an open stream for ten minutes is told to go, and cut when it stays', async () => {
  const { clock, open, ended, reached } = createConnections();
  const idle = open('idle');
  const busy = open('busy');
  busy.streamOpened();
  await clock.advance(idleConnectionMs - 1);
  serve(idle);
  await clock.advance(idleConnectionMs - 1);
  assert.equal(ended, []);
  await clock.advance(1);
  assert.equal(ended, ['goodbye idle']);
  await clock.advance(goodbyeMs);
  assert.equal([ended, reached], [['goodbye idle', 'cut idle'], ['connection_idle']]);
  idle.closed();
  busy.closed();
  assert.is(clock.timers(), 0);
});

test('10 000 calls may be given up in a burst, and as many again after ten seconds', async () => {
  const { clock, open, ended } = createConnections();
  const connection = open('a');
  const giveUp = (count: number) => {
    for (let index = 0; index < count; index += 1) {
      connection.streamOpened();
      connection.streamClosed(true);
    }
  };
  giveUp(maxResets);
  await clock.advance(10_000);
  giveUp(maxResets);
  assert.equal(ended, []);
  giveUp(1);
  assert.equal(ended, ['cut a']);
});

function createHalfOpen(timeoutMs = 2_000) {
  const clock = createFakeClock();
  const reached: BoundName[] = [];
  const streams = new HalfOpenStreams(clock, timeoutMs, (bound) => reached.push(bound));
  const ended: string[] = [];
  const stranger = {};
  const open = (name: string, connection: object = stranger) => {
    const say = (what: string) => () => void ended.push(`${what} ${name}`);
    return streams.open(connection, { refuse: say('refuse'), timeOut: say('time out'), drop: say('drop') });
  };
  return { clock, streams, reached, ended, open };
}

test('the oldest half-open stream goes when all together hold more than 8 MiB', () => {
  const { streams, ended, open, reached } = createHalfOpen();
  const count = maxHalfOpenBytes / streamBytes;
  const all = Array.from({ length: count }, (_, index) => open(String(index)));
  assert.equal(ended, []);
  all.at(-1)?.grew(1);
  assert.equal([ended, reached], [['refuse 0'], ['half_open_bytes']]);
  all[1]?.complete();
  all[2]?.closed();
  all[0]?.grew(1_000);
  assert.is(streams.sizeBytes, (count - 3) * streamBytes + 1);
});

test('the connection that holds most loses, and an answer of another one that is older stays', () => {
  const { ended, open } = createHalfOpen();
  const honest = open('honest', {});
  honest.complete();
  honest.answered();
  const count = maxHalfOpenBytes / streamBytes;
  for (let index = 0; index < 2 * count; index += 1) open(String(index));
  assert.is(ended.length, count + 1);
  assert.equal([ended[0], ended.includes('drop honest')], ['refuse 0', false]);
});

test('a body has the time of its call, an answer that nobody takes has ten seconds', async () => {
  const { clock, ended, open, streams, reached } = createHalfOpen();
  open('late');
  const served = open('served');
  served.complete();
  await clock.advance(2_000);
  assert.equal(ended, ['time out late']);
  served.answered();
  await clock.advance(transferMs);
  assert.equal(ended, ['time out late', 'drop served']);
  assert.equal([streams.sizeBytes, clock.timers()], [0, 0]);
  assert.equal(reached, ['body_late', 'answer_untaken']);
});

test('without a deadline of our own a body still has ten seconds', async () => {
  const { clock, ended, open } = createHalfOpen(0);
  open('late');
  await clock.advance(transferMs);
  assert.equal(ended, ['time out late']);
});

test.run();
