// When a request is sent once more: a login never after OpenBao may have carried it out.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Addresses } from '../../../../plugin/http/addresses.ts';
import { BrokenExchange, type Connection, type HttpReply } from '../../../../plugin/http/connection.ts';
import type { Operation } from '../../../../plugin/http/operation.ts';
import { Pool } from '../../../../plugin/http/pool.ts';
import { type ExchangeDeps, exchange } from '../../../../plugin/openbao/exchange.ts';
import { loginOperations, operations } from '../../../../plugin/openbao/operations.ts';
import { ProviderError } from '../../../../shared/errors/error.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';

const reply: HttpReply = {
  status: 200,
  contentType: 'application/json',
  retryAfter: '',
  date: '',
  body: Buffer.alloc(0),
};

type Broken = { readonly wasReused: boolean; readonly hasAnswerBegun: boolean };

/** The first connection breaks in this way, the second one answers. @returns how often the request was sent */
async function sentBy(operation: Operation, { wasReused, hasAnswerBegun }: Broken): Promise<number> {
  let sent = 0;
  const clock = createFakeClock();
  const addresses: Addresses = {
    inOrder: async () => ['192.0.2.1'],
    failed: () => {},
    hasBetter: () => true,
    answered: () => {},
  };
  const open = async (): Promise<Connection> => ({
    peer: '192.0.2.1',
    isOpen: () => true,
    hasAnswered: () => sent === 0 && wasReused,
    exchange: async () => {
      sent += 1;
      if (sent > 1) return reply;
      throw new BrokenExchange(Object.assign(new Error('reset'), { code: 'ECONNRESET' }), hasAnswerBegun);
    },
    close: () => {},
    onClosed: () => {},
  });
  const deps: ExchangeDeps = {
    pool: new Pool({ open, clock, random: () => 0, connections: 2 }),
    addresses,
    turnover: { isAllowed: () => true, spend: () => {} },
    troubles: { note: () => Number.POSITIVE_INFINITY },
    clock,
  };
  const request = { operation, path: '/v1/x', headers: {}, body: null };
  const signal = new AbortController().signal;
  await exchange(deps, request, { isLast: false, signal, caller: undefined, pauseMs: 0 }).catch((error: unknown) =>
    assert.instance(error, ProviderError),
  );
  return sent;
}

const begun = { wasReused: true, hasAnswerBegun: true };
const silent = { wasReused: true, hasAnswerBegun: false };
const fresh = { wasReused: false, hasAnswerBegun: false };

test('a login whose answer had begun is not sent again', async () =>
  assert.is(await sentBy(loginOperations.jwt, begun), 1));

test('a login on a fresh connection is not sent again', async () =>
  assert.is(await sentBy(loginOperations.jwt, fresh), 1));

test('a login that met the end of an idle connection never arrived, and is sent again', async () =>
  assert.is(await sentBy(loginOperations.jwt, silent), 2));

test('what may be carried out twice is sent again however it broke', async () => {
  for (const broken of [begun, silent, fresh]) assert.is(await sentBy(operations.decrypt, broken), 2);
});

type Answer = HttpReply | Error;

/** What one call does over connections that answer in this order. */
async function play(
  answers: readonly Answer[],
  options: { hasBetter?: boolean; isAllowed?: boolean; tookMs?: number } = {},
) {
  const clock = createFakeClock();
  const told: string[] = [];
  const left = [...answers];
  const addresses: Addresses = {
    inOrder: async () => ['192.0.2.1'],
    failed: (peer) => told.push(`failed ${peer}`),
    hasBetter: () => options.hasBetter ?? false,
    answered: (peer) => told.push(`answered ${peer}`),
  };
  const open = async (): Promise<Connection> => ({
    peer: '192.0.2.1',
    isOpen: () => true,
    hasAnswered: () => false,
    exchange: async () => {
      told.push(`sent at ${clock.nowMs()}`);
      const answer = left.shift();
      const { tookMs = 0 } = options;
      if (tookMs > 0) await new Promise<void>((resolve) => clock.after(tookMs, resolve));
      if (answer === undefined || answer instanceof Error) throw answer ?? new Error('nothing');
      return answer;
    },
    close: () => {},
    onClosed: () => {},
  });
  const deps: ExchangeDeps = {
    pool: new Pool({ open, clock, random: () => 0, connections: 2 }),
    addresses,
    turnover: { isAllowed: () => options.isAllowed ?? true, spend: (count) => told.push(`spent ${count}`) },
    troubles: { note: () => Number.POSITIVE_INFINITY },
    clock,
  };
  const request = { operation: operations.decrypt, path: '/v1/x', headers: {}, body: null };
  const signal = new AbortController().signal;
  const sending = { isLast: false, signal, caller: undefined, pauseMs: 100 };
  const outcome = exchange(deps, request, sending).then(
    ({ status, wasRepeated }) => told.push(`${status}${wasRepeated === true ? ' repeated' : ''}`),
    (error: unknown) => told.push(error instanceof ProviderError ? error.class : 'unclassified'),
  );
  await clock.settle();
  await clock.advance(1_000);
  await outcome;
  return told;
}

const errorsOf = (status: number, ...errors: string[]): HttpReply => ({
  ...reply,
  status,
  body: Buffer.from(JSON.stringify({ errors })),
});
const standby = errorsOf(500, 'node is in standby mode');
const sealed = errorsOf(503, 'Vault is sealed');
const reset = () => new BrokenExchange(Object.assign(new Error('reset'), { code: 'ECONNRESET' }), false);
const [failed, answered] = ['failed 192.0.2.1', 'answered 192.0.2.1'];

test('a node that serves is released and remembered, whatever it says', async () => {
  for (const one of [reply, errorsOf(403, 'permission denied'), errorsOf(500, 'internal')]) {
    assert.equal(await play([one]), ['sent at 0', answered, `${one.status}`]);
  }
});

test('an election is waited for before the second try, unless another address is better', async () => {
  const tries = (atMs: number) => ['sent at 0', failed, 'spent 1', `sent at ${atMs}`, answered, '200 repeated'];
  assert.equal(await play([standby, reply]), tries(100));
  assert.equal(await play([standby, reply], { hasBetter: true }), tries(0));
});

test('for a seal, and for a connection that broke, nobody waits', async () => {
  for (const first of [sealed, reset()]) {
    assert.equal(await play([first, reply]), ['sent at 0', failed, 'spent 1', 'sent at 0', answered, '200 repeated']);
  }
});

test('after two that break the first cause is told, and the address has failed twice', async () => {
  const told = await play([reset(), new BrokenExchange(new Error('other'), true)]);
  assert.equal(told.at(-1), 'bao_connection_failed');
  assert.is(told.filter((one) => one === failed).length, 2);
});

test('when too many connections were given up, what came is the answer and nothing is tried again', async () => {
  assert.equal(await play([sealed, reply], { isAllowed: false }), ['sent at 0', failed, '503']);
  assert.equal(await play([reset(), reply], { isAllowed: false }), ['sent at 0', failed, 'bao_connection_failed']);
});

for (const [tookMs, isSuspect] of [
  [999, false],
  [1_000, true],
] as const) {
  test(`a caller who leaves after ${tookMs} ms says ${isSuspect ? 'something' : 'nothing'} against the node, and is not served again`, async () => {
    const told = await play([new ProviderError('canceled', 'gone')], { tookMs });
    assert.equal(told, ['sent at 0', ...(isSuspect ? [failed] : []), 'canceled']);
  });
}

test.run();
