// Which connection of the pool a call gets, how long it waits for one, and when a connection ends. Connections are played, time
// is the fake clock's.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Pool, type Pooled } from '../../../../plugin/http/pool.ts';
import { createTurnover } from '../../../../plugin/http/turnover.ts';
import { createTroubles } from '../../../../plugin/openbao/trouble.ts';
import { ProviderError } from '../../../../shared/errors/error.ts';
import { createFakeClock, type FakeClock } from '../../../support/fake-clock.ts';
import { rejectsClass } from '../../../support/throws.ts';

type Played = Pooled & { readonly name: string };
type Opening = {
  readonly arrive: (peer?: string) => Played;
  readonly fail: () => void;
};
type Table = {
  readonly clock: FakeClock;
  readonly pool: Pool<Played>;
  /** What is being opened and has not come yet, in order. */
  readonly openings: Opening[];
  /** Names of the connections that have ended, in order. */
  readonly ended: string[];
};

function createTable(connections: number, random = 0.5): Table {
  const clock = createFakeClock();
  const openings: Opening[] = [];
  const ended: string[] = [];
  let count = 0;
  const create = (peer: string): Played => {
    let isOpen = true;
    const runs: (() => void)[] = [];
    count += 1;
    const name = `c${count}`;
    const close = () => {
      if (!isOpen) return;
      isOpen = false;
      ended.push(name);
      for (const run of runs) run();
    };
    return { name, peer, isOpen: () => isOpen, close, onClosed: (run) => runs.push(run) };
  };
  const open = () =>
    new Promise<Played>((resolve, reject) => {
      const arrive = (peer = '10.0.0.1') => {
        const connection = create(peer);
        resolve(connection);
        return connection;
      };
      openings.push({ arrive, fail: () => reject(new ProviderError('bao_connection_failed', 'refused')) });
    });
  return { clock, pool: new Pool({ open, clock, random: () => random, connections }), openings, ended };
}

const forever = new AbortController().signal;

async function opened({ pool, openings, clock }: Table, peer?: string): Promise<Played> {
  const waiting = pool.acquire(forever);
  await clock.settle();
  openings.shift()?.arrive(peer);
  return waiting;
}

test('the connection that was used last is used first', async () => {
  const table = createTable(3);
  const [first, second] = [await opened(table), await opened(table)];
  table.pool.release(second);
  table.pool.release(first);

  assert.is(await table.pool.acquire(forever), first);
  assert.is(await table.pool.acquire(forever), second);
});

test('no more connections are opened than the limit, and who waits is served in order', async () => {
  const table = createTable(1);
  const only = await opened(table);
  const served: string[] = [];
  const waiting = ['a', 'b'].map((name) =>
    table.pool.acquire(forever).then((connection) => {
      served.push(name);
      table.pool.release(connection);
    }),
  );
  await table.clock.settle();

  assert.equal([table.openings.length, served], [0, []]);
  table.pool.release(only);
  await Promise.all(waiting);
  assert.equal(served, ['a', 'b']);
});

for (const [random, lifeMs] of [
  [0, 540_000],
  [0.999_999, 660_000],
] as const) {
  test(`a connection lives for ${lifeMs / 60_000} min at random ${random}: idle it is closed then, in use when it is given back`, async () => {
    const table = createTable(2, random);
    const [idle, used] = [await opened(table), await opened(table)];
    table.pool.release(idle);

    await table.clock.advance(lifeMs - 1_000);
    assert.equal(table.ended, []);
    await table.clock.advance(1_000);
    assert.equal(table.ended, [idle.name]);
    table.pool.release(used);
    assert.equal(table.ended, [idle.name, used.name]);
  });
}

test('a connection that carries nothing is closed after 5 s, before OpenBao closes it after 10', async () => {
  const table = createTable(1);
  const leaver = new AbortController();
  const waiting = table.pool.acquire(leaver.signal);
  leaver.abort(new ProviderError('canceled', 'gone'));
  await rejectsClass(waiting, 'canceled');
  const unused = table.openings.shift()?.arrive();

  await table.clock.advance(4_999);
  assert.equal(table.ended, []);
  await table.clock.advance(1);
  assert.equal(table.ended, [unused?.name]);
});

test('a connection finished for nobody serves the next', async () => {
  const table = createTable(1);
  const leaver = new AbortController();
  const waiting = table.pool.acquire(leaver.signal);
  leaver.abort(new ProviderError('canceled', 'gone'));
  await rejectsClass(waiting, 'canceled');
  const late = table.openings.shift()?.arrive();
  await table.clock.settle();

  assert.is(await table.pool.acquire(forever), late);
});

test('who asks for a fresh connection gets none that carried a request, before all who wait, and an idle one makes room', async () => {
  const table = createTable(1);
  const used = await opened(table);
  table.pool.release(used);
  const fresh = table.pool.acquire(forever, true);
  await table.clock.settle();
  const ordinary = table.pool.acquire(forever);

  assert.equal(table.ended, [used.name]);
  const arrived = table.openings.shift()?.arrive();
  assert.is(await fresh, arrived);
  if (arrived !== undefined) table.pool.release(arrived);
  assert.is(await ordinary, arrived);
});

test('who asks for a fresh connection while all are in use gets one as soon as one is given back', async () => {
  const table = createTable(1);
  const used = await opened(table);
  const fresh = table.pool.acquire(forever, true);
  table.pool.release(used);
  await table.clock.settle();

  assert.equal(table.ended, [used.name]);
  assert.is(await Promise.race([fresh, table.openings.shift()?.arrive()]), await fresh);
});

test('idle connections to an address are closed, those in use and those to others are not', async () => {
  const table = createTable(4);
  const [bad, busy] = [await opened(table, '10.0.0.1'), await opened(table, '10.0.0.1')];
  const other = await opened(table, '10.0.0.2');
  table.pool.release(bad);
  table.pool.release(other);

  assert.is(table.pool.closeIdle('10.0.0.1'), 1);
  assert.equal(table.ended, [bad.name]);
  assert.ok(busy.isOpen());
});

test('idle connections that carried a good answer after a moment are spared', async () => {
  const table = createTable(2);
  const [old, proven] = [await opened(table), await opened(table)];
  await table.clock.advance(1_000);
  table.pool.release(old);
  await table.clock.advance(1_000);
  table.pool.release(proven);

  assert.is(table.pool.closeIdle('10.0.0.1', 1_500), 1);
  assert.equal(table.ended, [old.name]);
});

test('an opening that dawdles is not counted on after 2 s, and still serves when it comes', async () => {
  const table = createTable(2);
  const first = table.pool.acquire(forever);
  await table.clock.advance(1_999);
  assert.is(table.openings.length, 1);
  await table.clock.advance(1);
  assert.is(table.openings.length, 2);

  const [dawdling, quick] = table.openings.splice(0);
  assert.is(await Promise.race([first, quick?.arrive()]), await first);
  const late = dawdling?.arrive();
  await table.clock.settle();
  assert.is(await table.pool.acquire(forever), late);
});

test('a failed opening is heard by one who waits, the first', async () => {
  const table = createTable(4);
  const [first, second] = [table.pool.acquire(forever), table.pool.acquire(forever)];
  await table.clock.settle();
  table.openings[1]?.fail();

  await rejectsClass(first, 'bao_connection_failed');
  const arrived = table.openings[0]?.arrive();
  assert.is(await second, arrived);
});

test('a connection that ends by itself makes room, and is given to nobody', async () => {
  const table = createTable(1);
  const ending = await opened(table);
  table.pool.release(ending);
  ending.close();
  const waiting = table.pool.acquire(forever);
  await table.clock.settle();

  const next = table.openings.shift()?.arrive();
  assert.is(await waiting, next);
});

test('a closed pool ends all connections and what still arrives', async () => {
  const table = createTable(3);
  const idle = await opened(table);
  const leaver = new AbortController();
  const waiting = table.pool.acquire(leaver.signal, true);
  leaver.abort(new ProviderError('canceled', 'gone'));
  await rejectsClass(waiting, 'canceled');
  table.pool.release(idle);
  table.pool.close();
  const late = table.openings.shift()?.arrive();
  await table.clock.settle();

  assert.equal(table.ended, [idle.name, late?.name]);
});

test('the trouble of an address lasts from its first bad answer until 10 s after its last', async () => {
  const clock = createFakeClock();
  const troubles = createTroubles(clock.nowMs);
  await clock.advance(1_000);

  assert.is(troubles.note('a'), Number.POSITIVE_INFINITY);
  await clock.advance(9_999);
  assert.equal([troubles.note('a'), troubles.note('b')], [1_000, Number.POSITIVE_INFINITY]);
  await clock.advance(9_999);
  assert.is(troubles.note('a'), 1_000);
  await clock.advance(10_000);
  assert.is(troubles.note('a'), Number.POSITIVE_INFINITY);
});

test('connections are given up in a burst of twice the pool, then a pool a second', async () => {
  const clock = createFakeClock();
  const turnover = createTurnover(10, clock.nowMs);
  const spendAll = () => {
    let spent = 0;
    for (; turnover.isAllowed(); spent += 1) turnover.spend(1);
    return spent;
  };

  assert.is(spendAll(), 20);
  await clock.advance(1_000);
  assert.is(spendAll(), 10);
  await clock.advance(60_000);
  assert.is(spendAll(), 20);
});

test('who asks for a fresh connection is served before one who has waited longer for any', async () => {
  const { pool, openings, clock, ...table } = createTable(1);
  const used = await opened({ pool, openings, clock, ...table });
  const served: string[] = [];
  void pool.acquire(forever).then(() => served.push('any'));
  void pool.acquire(forever, true).then(() => served.push('fresh'));
  pool.discard(used);
  openings.shift()?.arrive();
  await clock.settle();

  assert.equal(served, ['fresh']);
});

test('a connection whose answer was no good one is not spared for it', async () => {
  const table = createTable(2);
  const [good, bad] = [await opened(table), await opened(table)];
  await table.clock.advance(1_000);
  table.pool.release(good);
  table.pool.release(bad, false);

  assert.is(table.pool.closeIdle('10.0.0.1', 500), 1);
  assert.equal(table.ended, [bad.name]);
});

test('a connection that has ended when it arrives is given to nobody, and another one is opened', async () => {
  const { pool, openings, clock } = createTable(1);
  const waiting = pool.acquire(forever);
  openings.shift()?.arrive().close();
  await clock.settle();
  const second = openings.shift()?.arrive();

  assert.ok(second !== undefined);
  assert.is(await waiting, second);
});

test('a connection that has ended leaves no timer', async () => {
  const table = createTable(1);
  const connection = await opened(table);
  connection.close();

  assert.is(table.clock.timers(), 0);
});

test('who leaves after being served takes nobody else out of the line', async () => {
  const table = createTable(1);
  const leaver = new AbortController();
  const first = table.pool.acquire(leaver.signal);
  table.openings.shift()?.arrive();
  const connection = await first;
  const second = table.pool.acquire(forever);
  leaver.abort(new ProviderError('canceled', 'gone'));
  table.pool.release(connection);

  assert.is(await Promise.race([second, table.clock.settle()]), connection);
});

test.run();
