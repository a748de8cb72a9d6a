// One call over the pool: what its outcome means for the connection it used and for those beside it, and whether it is sent once
// more. Encrypt, Decrypt, reads and renewals may be carried out twice; a login is repeated only when none can have been carried out.

import type { ProviderError } from '../../shared/errors/error.ts';
import type { Clock } from '../../shared/time/clock.ts';
import { pause } from '../../shared/time/deadline.ts';
import type { Addresses } from '../http/addresses.ts';
import { BrokenExchange, type Connection, type HttpReply, type WireRequest } from '../http/connection.ts';
import type { Operation } from '../http/operation.ts';
import type { Pool } from '../http/pool.ts';
import { classifyTransportFailure } from '../http/transport-failure.ts';
import type { Turnover } from '../http/turnover.ts';
import { isNodeUnable, isSealed } from './response.ts';
import type { Troubles } from './trouble.ts';

export type ExchangeDeps = {
  readonly pool: Pool<Connection>;
  readonly addresses: Addresses;
  readonly turnover: Turnover;
  readonly troubles: Troubles;
  readonly clock: Clock;
};

type Outcome =
  /** A node that serves has answered. */
  | { readonly kind: 'served'; readonly reply: HttpReply }
  /** The node says that it cannot serve. `isPassing`: an election or a balancer that has not looked yet may be behind it. */
  | { readonly kind: 'unable'; readonly reply: HttpReply; readonly isPassing: boolean }
  /** No complete answer. `isUnsent`: it never left, or as good as certainly so, on a connection that had been idle. */
  | { readonly kind: 'broken'; readonly error: ProviderError; readonly isUnsent: boolean; readonly isPassing: boolean }
  /** Over: the deadline, the caller, an answer over its limit, no address. */
  | { readonly kind: 'ended'; readonly error: ProviderError };

/** A node that has been silent for so long is suspected when the caller gives up, milliseconds. */
const suspiciousAfterMs = 1_000;

export type Sending = {
  /** Do not send it once more. */
  readonly isLast: boolean;
  /** Ends at the deadline or with the caller. */
  readonly signal: AbortSignal;
  readonly caller: AbortSignal | undefined;
  /** Before the second try, when what was wrong may pass by itself. */
  readonly pauseMs: number;
};

/**
 * @returns the answer, whatever it says
 * @throws ProviderError of the first cause, when no answer came; the reason of a caller who has left
 */
export async function exchange(deps: ExchangeDeps, request: WireRequest, sending: Sending): Promise<HttpReply> {
  const { isLast, signal, caller, pauseMs } = sending;
  const first = await attempt(deps, request, signal, false);
  if (isLast || signal.aborted || !isRepeated(request.operation, first)) return resultOf(first);
  if ('isPassing' in first && first.isPassing && !deps.addresses.hasBetter()) await pause(deps.clock, pauseMs, signal);
  const second = await attempt(deps, request, signal, true);
  if ('reply' in second) return { ...second.reply, wasRepeated: true };
  caller?.throwIfAborted();
  return resultOf(first);
}

function isRepeated(operation: Operation, outcome: Outcome): boolean {
  if (outcome.kind === 'broken') return operation.isRepeatable || outcome.isUnsent;
  return outcome.kind === 'unable' && operation.isRepeatable;
}

function resultOf(outcome: Outcome): HttpReply {
  if ('error' in outcome) throw outcome.error;
  return outcome.reply;
}

async function attempt(
  deps: ExchangeDeps,
  request: WireRequest,
  signal: AbortSignal,
  isFresh: boolean,
): Promise<Outcome> {
  let connection: Connection;
  try {
    connection = await deps.pool.acquire(signal, isFresh); // control: exchange.acquire
  } catch (thrown) {
    return notConnected(deps, thrown);
  }
  const wasReused = connection.hasAnswered();
  const sentAtMs = deps.clock.nowMs();
  try {
    return answered(deps, connection, await connection.exchange(request, signal));
  } catch (thrown) {
    return broken(deps, { connection, wasReused, sentAtMs, thrown });
  }
}

function notConnected({ turnover }: ExchangeDeps, thrown: unknown): Outcome {
  const error = classifyTransportFailure(thrown);
  const mayHelp = error.class === 'bao_connection_failed' || error.class === 'bao_tls_failed';
  if (!mayHelp || !turnover.isAllowed()) return { kind: 'ended', error };
  turnover.spend(1);
  return { kind: 'broken', error, isUnsent: true, isPassing: true };
}

function answered(deps: ExchangeDeps, connection: Connection, reply: HttpReply): Outcome {
  const { pool, addresses, turnover, troubles } = deps;
  const { peer } = connection;
  if (!isNodeUnable(reply)) {
    pool.release(connection);
    addresses.answered(peer);
    return { kind: 'served', reply };
  }
  addresses.failed(peer);
  if (!turnover.isAllowed()) {
    pool.release(connection, false);
    return { kind: 'served', reply };
  }
  pool.discard(connection);
  turnover.spend(1 + pool.closeIdle(peer, troubles.note(peer)));
  return { kind: 'unable', reply, isPassing: !isSealed(reply) };
}

type Broken = {
  readonly connection: Connection;
  readonly wasReused: boolean;
  readonly sentAtMs: number;
  readonly thrown: unknown;
};

/** What has been idle since before the request was sent may have met the same end, or the same silence. */
function broken(deps: ExchangeDeps, { connection, wasReused, sentAtMs, thrown }: Broken): Outcome {
  const { pool, addresses, turnover, clock } = deps;
  const isBroken = thrown instanceof BrokenExchange;
  const isSuspect = isBroken || clock.nowMs() - sentAtMs >= suspiciousAfterMs;
  pool.discard(connection);
  if (isSuspect) {
    addresses.failed(connection.peer);
    pool.closeIdle(connection.peer, sentAtMs);
  }
  const error = classifyTransportFailure(isBroken ? thrown.cause : thrown);
  if (!isBroken || !turnover.isAllowed()) return { kind: 'ended', error };
  turnover.spend(1);
  return { kind: 'broken', error, isUnsent: wasReused && !thrown.hasAnswerBegun, isPassing: false }; // control: exchange.answer-begun
}
