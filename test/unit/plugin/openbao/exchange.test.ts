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

test.run();
