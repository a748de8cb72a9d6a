// Decrypts that leave together: who goes alone, who goes with whom, and what becomes of each when the request fails as a whole.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { BatchSwitch } from '../../../../plugin/kms/batch-switch.ts';
import { DecryptQueue } from '../../../../plugin/kms/decrypt-queue.ts';
import { ProviderError } from '../../../../shared/errors/error.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';
import { rejectsClass } from '../../../support/throws.ts';

type Outcomes = Awaited<ReturnType<ConstructorParameters<typeof DecryptQueue>[0]['send']>>;
type Request = {
  readonly items: readonly string[];
  readonly signal: AbortSignal;
  readonly single: PromiseWithResolvers<Buffer>;
  readonly several: PromiseWithResolvers<
    readonly ({ plaintext: Buffer } | { error: unknown } | undefined)[] | undefined
  >;
};

const plain = (item: string): Outcomes => Buffer.from(`plain ${item}`);

function createBench(options: { slots?: number; batchSlots?: number; maxItems?: number } = {}) {
  const clock = createFakeClock();
  const requests: Request[] = [];
  let switchedOff = 0;
  const ask = (items: readonly string[], signal: AbortSignal): Request => {
    const request = { items, signal, single: Promise.withResolvers(), several: Promise.withResolvers() } as Request;
    requests.push(request);
    return request;
  };
  const queue = new DecryptQueue<string>({
    clock,
    slots: options.slots ?? 8,
    maxWaiting: 1_024,
    marginMs: 100,
    send: (item, signal) => ask([item], signal).single.promise,
    batches: {
      switch: new BatchSwitch(clock, () => {
        switchedOff += 1;
      }),
      slots: options.batchSlots ?? 1,
      maxItems: options.maxItems ?? 64,
      send: (items, signal) => ask(items, signal).several.promise,
    },
  });
  const decrypt = (item: string, more: { deadlineMs?: number; signal?: AbortSignal; connection?: object } = {}) => {
    const call = queue.decrypt({
      identity: item,
      connection: more.connection ?? queue,
      deadlineMs: more.deadlineMs ?? 2_000,
      signal: more.signal ?? new AbortController().signal,
      item,
    });
    // Somebody looks later.
    call.catch(() => undefined);
    return call;
  };
  /** Answers a request with what it asked for. */
  const answer = async (index: number) => {
    const request = requests[index];
    const [item = ''] = request?.items ?? [];
    if (request?.items.length === 1) request.single.resolve(plain(item));
    else request?.several.resolve(request.items.map((one) => ({ plaintext: plain(one) })));
    await clock.settle();
  };
  return {
    clock,
    queue,
    requests,
    decrypt,
    answer,
    asked: () => requests.map(({ items }) => items.join('')),
    switchedOff: () => switchedOff,
  };
}

/** What became of each call, as a text. */
const told = (calls: readonly Promise<Buffer>[]) =>
  Promise.all(calls.map((call) => call.then(String, (error: ProviderError) => error.class)));

test('one that finds a free slot goes at once and alone', async () => {
  const { decrypt, asked, answer } = createBench({ batchSlots: 2 });
  const calls = [decrypt('a'), decrypt('b')];
  assert.equal(asked(), ['a', 'b']);
  await answer(0);
  await answer(1);
  assert.equal(await told(calls), ['plain a', 'plain b']);
});

test('those that wait leave together in their order when a slot is free, and each gets its own answer', async () => {
  const { decrypt, asked, answer } = createBench();
  const calls = ['a', 'b', 'c', 'd'].map((item) => decrypt(item));
  assert.equal(asked(), ['a']);
  await answer(0);
  assert.equal(asked(), ['a', 'bcd']);
  await answer(1);
  assert.equal(await told(calls), ['plain a', 'plain b', 'plain c', 'plain d']);
});

test('one that waits alone is asked for as a single one', async () => {
  const { decrypt, requests, answer } = createBench();
  const calls = [decrypt('a'), decrypt('b')];
  await answer(0);
  requests[1]?.single.resolve(Buffer.from('alone'));
  assert.equal(await told(calls), ['plain a', 'alone']);
});

test('no more than the most leave together, the oldest first', async () => {
  const { decrypt, asked, answer } = createBench({ maxItems: 3 });
  const calls = [...'abcdefgh'].map((item) => decrypt(item));
  for (let index = 0; index < 4; index += 1) await answer(index);
  assert.equal(asked(), ['a', 'bcd', 'efg', 'h']);
  assert.is((await told(calls)).length, 8);
});

test('of two connections each has its share of what leaves together', async () => {
  const { decrypt, asked, answer } = createBench({ maxItems: 4 });
  const [one, other] = [{}, {}];
  const calls = ['A', 'B', 'C', 'D', 'E', 'F'].map((item) => decrypt(item, { connection: one }));
  calls.push(...['x', 'y'].map((item) => decrypt(item, { connection: other })));
  await answer(0);
  assert.is([...(asked()[1] ?? '')].sort().join(''), 'BCxy');
  await answer(1);
  await answer(2);
  assert.is((await told(calls)).length, 8);
});

test('a bad one fails alone, its sixty-three neighbours are answered', async () => {
  const { decrypt, requests, answer } = createBench();
  const names = Array.from({ length: 65 }, (_, index) => `<${index}>`);
  const calls = names.map((item) => decrypt(item));
  await answer(0);
  const bad = new ProviderError('bao_decrypt_failed', 'bad');
  requests[1]?.several.resolve(
    (requests[1]?.items ?? []).map((item) =>
      item === '<40>' ? { error: bad } : { plaintext: plain(item) ?? Buffer.alloc(0) },
    ),
  );
  assert.equal(
    await told(calls),
    names.map((name) => (name === '<40>' ? 'bao_decrypt_failed' : `plain ${name}`)),
  );
});

test('one whose answer is unclear is asked for alone, once', async () => {
  const { decrypt, requests, asked, answer } = createBench();
  const calls = ['a', 'b', 'c'].map((item) => decrypt(item));
  await answer(0);
  requests[1]?.several.resolve([{ plaintext: Buffer.from('B') }, undefined]);
  await answer(1);
  assert.equal(asked(), ['a', 'bc', 'c']);
  requests[2]?.single.reject(new ProviderError('bao_unavailable', 'gone'));
  assert.equal(await told(calls), ['plain a', 'B', 'bao_unavailable']);
});

test('a batch that is refused as a whole is sent again one by one, before those that came later', async () => {
  const { decrypt, requests, asked, answer, clock } = createBench({ slots: 2 });
  const calls = ['a', 'b', 'c', 'd'].map((item) => decrypt(item));
  await answer(0);
  calls.push(decrypt('e'));
  requests[1]?.several.resolve(undefined);
  await clock.settle();
  assert.equal(asked(), ['a', 'bcd', 'b', 'c'], 'as many as there are slots for single ones');
  for (let index = 2; index < 6; index += 1) await answer(index);
  assert.equal(asked(), ['a', 'bcd', 'b', 'c', 'd', 'e']);
  assert.equal(await told(calls), ['plain a', 'plain b', 'plain c', 'plain d', 'plain e']);
});

test('one that nobody waits for any more is not sent again', async () => {
  const { decrypt, requests, asked, answer, clock } = createBench();
  const controller = new AbortController();
  const calls = [decrypt('a'), decrypt('b', { signal: controller.signal }), decrypt('c')];
  await answer(0);
  controller.abort(new ProviderError('canceled', 'gone'));
  await clock.settle();
  requests[1]?.several.resolve(undefined);
  await clock.settle();
  await answer(2);
  assert.equal(asked(), ['a', 'bc', 'c']);
  assert.equal(await told(calls), ['plain a', 'canceled', 'plain c']);
});

test('an OpenBao that is not there fails all of them, and none is sent again', async () => {
  const { decrypt, requests, asked, answer } = createBench();
  const calls = ['a', 'b', 'c'].map((item) => decrypt(item));
  await answer(0);
  requests[1]?.several.reject(new ProviderError('bao_connection_failed', 'refused'));
  assert.equal(await told(calls), ['plain a', 'bao_connection_failed', 'bao_connection_failed']);
  assert.equal(asked(), ['a', 'bc']);
});

test('one that gave up before is not sent', async () => {
  const { decrypt, asked, answer } = createBench();
  const controller = new AbortController();
  const calls = [decrypt('a'), decrypt('b', { signal: controller.signal }), decrypt('c'), decrypt('d')];
  controller.abort(new ProviderError('canceled', 'gone'));
  await answer(0);
  await answer(1);
  assert.equal(asked(), ['a', 'cd']);
  assert.equal(await told(calls), ['plain a', 'canceled', 'plain c', 'plain d']);
});

test('one whose deadline can no longer be met is refused and not sent', async () => {
  const { decrypt, asked, answer, clock } = createBench();
  const calls = [decrypt('a'), decrypt('b', { deadlineMs: 500 }), decrypt('c'), decrypt('d')];
  const all = told(calls);
  await clock.advance(401);
  await answer(0);
  await answer(1);
  assert.equal(asked(), ['a', 'cd']);
  assert.equal(await all, ['plain a', 'concurrency_limit', 'plain c', 'plain d']);
});

test('a request is given up only when all who wait for its items are gone', async () => {
  const { decrypt, requests, answer, clock } = createBench();
  const gone = [new AbortController(), new AbortController()];
  const calls = [decrypt('a'), ...gone.map(({ signal }, index) => decrypt(`${index}`, { signal }))];
  const all = told(calls);
  await answer(0);
  gone[0]?.abort(new ProviderError('canceled', 'gone'));
  await clock.settle();
  assert.is(requests[1]?.signal.aborted, false);
  gone[1]?.abort(new ProviderError('canceled', 'gone'));
  await clock.settle();
  assert.is(requests[1]?.signal.aborted, true);
  requests[1]?.several.reject(requests[1].signal.reason);
  assert.equal(await all, ['plain a', 'canceled', 'canceled']);
});

test('a plaintext that nobody waits for any more is wiped when it comes', async () => {
  const { decrypt, requests, answer, clock } = createBench();
  const controller = new AbortController();
  const calls = [decrypt('a'), decrypt('b', { signal: controller.signal }), decrypt('c')];
  const all = told(calls);
  await answer(0);
  controller.abort(new ProviderError('canceled', 'gone'));
  await clock.settle();
  const [b, c] = [Buffer.from('secret b'), Buffer.from('secret c')];
  requests[1]?.several.resolve([{ plaintext: b }, { plaintext: c }]);
  assert.equal(await all, ['plain a', 'canceled', 'secret c']);
  await clock.settle();
  assert.ok([...b, ...c].every((byte) => byte === 0));
});

test('identical calls share their item also in a batch', async () => {
  const { decrypt, asked, answer } = createBench();
  const calls = ['a', 'b', 'b', 'c'].map((item) => decrypt(item));
  await answer(0);
  await answer(1);
  assert.equal(asked(), ['a', 'bc']);
  assert.equal(await told(calls), ['plain a', 'plain b', 'plain b', 'plain c']);
});

/** One batch of two, refused as a whole, and its items alone. */
async function refuseOne({ decrypt, requests, answer, clock }: ReturnType<typeof createBench>, name: string) {
  const calls = ['1', '2', '3'].map((item) => decrypt(name + item));
  const first = requests.length - 1;
  await answer(first);
  requests[first + 1]?.several.resolve(undefined);
  await clock.settle();
  for (let index = first + 2; index < requests.length; index += 1) await answer(index);
  await told(calls);
}

test('after two refusals in a row each goes alone for five minutes, in all slots, and that is told once', async () => {
  const bench = createBench({ slots: 3 });
  const { decrypt, asked, answer, clock, switchedOff, requests } = bench;
  await refuseOne(bench, 'a');
  assert.is(switchedOff(), 0);
  await refuseOne(bench, 'b');
  assert.is(switchedOff(), 1);
  const before = requests.length;
  const calls = [...'pqrst'].map((item) => decrypt(item));
  assert.equal(asked().slice(before), ['p', 'q', 'r']);
  for (let index = before; index < before + 5; index += 1) await answer(index);
  assert.equal(asked().slice(before), ['p', 'q', 'r', 's', 't']);
  await told(calls);
  await clock.advance(300_000);
  const later = requests.length;
  const again = [...'uvw'].map((item) => decrypt(item, { deadlineMs: 400_000 }));
  await answer(later);
  await answer(later + 1);
  assert.equal(asked().slice(later), ['u', 'vw']);
  await told(again);
  assert.is(switchedOff(), 1);
});

test('refusals with a good batch between them switch nothing off', async () => {
  const bench = createBench();
  await refuseOne(bench, 'a');
  const { decrypt, answer, requests, switchedOff } = bench;
  const calls = [...'xyz'].map((item) => decrypt(item));
  await answer(requests.length - 1);
  await answer(requests.length - 1);
  await told(calls);
  await refuseOne(bench, 'b');
  assert.is(switchedOff(), 0);
});

test('a refused queue that is full says so', async () => {
  const { decrypt, queue } = createBench();
  void decrypt('a').catch(() => undefined);
  for (let index = 0; index < 1_024; index += 1) void decrypt(`${index}`).catch(() => undefined);
  await rejectsClass(decrypt('more'), 'concurrency_limit');
  assert.is(queue.waiting, 1_024);
});

test.run();
