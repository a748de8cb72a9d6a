// In which order the addresses behind a name are tried, and how often the resolver is asked. The resolver is played.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Addresses, createAddresses } from '../../../../plugin/http/addresses.ts';
import { createFakeClock, type FakeClock } from '../../../support/fake-clock.ts';

type Resolver = { answer: () => Promise<readonly string[]>; asked: number };

function createTable(...first: string[]): { clock: FakeClock; resolver: Resolver; addresses: Addresses } {
  const clock = createFakeClock();
  const resolver: Resolver = { answer: async () => first, asked: 0 };
  const resolve = () => {
    resolver.asked += 1;
    return resolver.answer();
  };
  return { clock, resolver, addresses: createAddresses('bao.example', clock, resolve) };
}

const notFound = () => Promise.reject(Object.assign(new Error('no'), { code: 'ENOTFOUND' }));

test('addresses stand in the order of the resolver, those that failed behind, the latest failure last', async () => {
  const { addresses } = createTable('a', 'b', 'c');
  assert.equal(await addresses.inOrder(), ['a', 'b', 'c']);

  addresses.failed('b');
  addresses.failed('a');
  assert.equal(await addresses.inOrder(), ['c', 'b', 'a']);
  addresses.failed('c');
  addresses.failed('b');
  assert.equal(await addresses.inOrder(), ['a', 'c', 'b']);
});

test('there is a better one for as long as one did not fail', async () => {
  const { addresses } = createTable('a', 'b');
  await addresses.inOrder();
  addresses.failed('a');
  assert.is(addresses.hasBetter(), true);
  addresses.failed('b');
  assert.is(addresses.hasBetter(), false);
  addresses.answered('a');
  assert.is(addresses.hasBetter(), true);
});

test('a good answer clears an address', async () => {
  const { addresses } = createTable('a', 'b');
  addresses.failed('a');
  addresses.answered('a');

  assert.equal(await addresses.inOrder(), ['a', 'b']);
});

test('the resolver is asked at most every 5 s', async () => {
  const { addresses, resolver, clock } = createTable('a');
  await addresses.inOrder();
  resolver.answer = async () => ['b'];
  await clock.advance(4_999);
  assert.equal([await addresses.inOrder(), resolver.asked], [['a'], 1]);

  await clock.advance(1);
  assert.equal([await addresses.inOrder(), resolver.asked], [['b'], 2]);
});

test('a resolver that fails is asked at most every 5 s too', async () => {
  const { addresses, resolver, clock } = createTable();
  resolver.answer = notFound;
  const codeOf = (run: Promise<unknown>) => run.catch((error: { code?: string }) => error.code);
  assert.is(await codeOf(addresses.inOrder()), 'ENOTFOUND');
  resolver.answer = async () => ['a'];
  await clock.advance(4_999);
  assert.equal([await codeOf(addresses.inOrder()), resolver.asked], ['ENOTFOUND', 1]);

  await clock.advance(1);
  assert.equal(await addresses.inOrder(), ['a']);
});

test('when the resolver fails or says nothing for a second, its last answer stands', async () => {
  const { addresses, resolver, clock } = createTable('a');
  await addresses.inOrder();
  resolver.answer = notFound;
  await clock.advance(5_000);
  assert.equal(await addresses.inOrder(), ['a']);

  resolver.answer = () => new Promise(() => {});
  await clock.advance(5_000);
  const waiting = addresses.inOrder();
  await clock.advance(1_000);
  assert.equal(await waiting, ['a']);
});

test('an address needs no resolver', async () => {
  let asked = 0;
  const resolve = async () => {
    asked += 1;
    return [];
  };
  for (const host of ['127.0.0.1', '::1']) {
    assert.equal(await createAddresses(host, createFakeClock(), resolve).inOrder(), [host]);
  }
  assert.is(asked, 0);
});

test('an address that the resolver left out in between is no failed one when it comes back', async () => {
  const { addresses, resolver, clock } = createTable('a', 'b');
  await addresses.inOrder();
  addresses.failed('a');
  resolver.answer = async () => ['b'];
  await clock.advance(5_000);
  assert.equal(await addresses.inOrder(), ['b']);
  resolver.answer = async () => ['a', 'b'];
  await clock.advance(5_000);

  assert.equal(await addresses.inOrder(), ['a', 'b']);
});

test.run();
