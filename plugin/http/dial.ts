// Opens one connection to OpenBao, whichever of its addresses and whichever node behind a balancer is there: an attempt that
// fails gives way to the next address, one that dawdles gets another beside it, and the first to complete its handshake wins.

import type { TLSSocket } from 'node:tls';
import { ProviderError } from '../../shared/errors/error.ts';
import type { Cancel, Clock } from '../../shared/time/clock.ts';
import { pause, untilAborted } from '../../shared/time/deadline.ts';
import type { Addresses } from './addresses.ts';
import { HandshakePace } from './handshake-pace.ts';
import { connectTls, type Trust } from './tls.ts';
import { classifyTransportFailure } from './transport-failure.ts';

export type Dialed = { readonly socket: TLSSocket; readonly address: string };
/** @throws ProviderError `bao_connection_failed`, `bao_dns_failed`, `bao_tls_failed`, or the signal's reason */
export type Dial = (signal: AbortSignal) => Promise<Dialed>;

export type DialOptions = {
  readonly trust: Trust;
  readonly port: number;
  readonly addresses: Addresses;
  readonly clock: Clock;
};

/** A handshake in one network takes milliseconds; after this one another is begun, milliseconds. */
const doubtedAfterMs = 500;
/** One after the other, also when there is one address only: a balancer may choose another node. */
const minAttempts = 2;
/** Side by side for one connection. */
const mostAttempts = 4;

type Attempt = { readonly number: number; readonly address: string };
type Outcome = Attempt &
  (
    | { readonly kind: 'open'; readonly socket: TLSSocket }
    | { readonly kind: 'failed'; readonly error: ProviderError }
    | { readonly kind: 'doubted' }
  );

type Paced = DialOptions & { readonly pace: HandshakePace };

export function createDial(given: DialOptions): Dial {
  const options = { ...given, pace: new HandshakePace() };
  return async (signal) => {
    const race = new AbortController();
    const leave = () => race.abort(signal.reason);
    signal.addEventListener('abort', leave, { once: true });
    try {
      const addresses = await untilAborted(options.addresses.inOrder(), signal).catch((error: unknown) => {
        throw classifyTransportFailure(error);
      });
      return await new Race(addresses, options, race.signal).winner();
    } finally {
      signal.removeEventListener('abort', leave);
      race.abort(new Error('another attempt was quicker'));
    }
  };
}

/** The attempts for one connection. */
class Race {
  readonly #addresses: readonly string[];
  readonly #options: Paced;
  readonly #signal: AbortSignal;
  readonly #running = new Map<number, Promise<Outcome>>();
  #begun = 0;

  constructor(addresses: readonly string[], options: Paced, signal: AbortSignal) {
    this.#addresses = addresses;
    this.#options = options;
    this.#signal = signal;
  }

  async winner(): Promise<Dialed> {
    let failure: ProviderError | undefined;
    this.#begin();
    for (;;) {
      const outcome = await this.#next();
      if (outcome.kind !== 'doubted') this.#running.delete(outcome.number);
      if (outcome.kind === 'open') return this.#dropOthers(outcome);
      this.#signal.throwIfAborted();
      this.#options.addresses.failed(outcome.address);
      if (outcome.kind === 'failed') failure = graver(failure, outcome.error);
      const isTriedEnough = this.#begun >= Math.max(minAttempts, this.#addresses.length);
      if (outcome.kind === 'doubted' || !isTriedEnough) this.#begin();
      else if (this.#running.size === 0) throw failure;
    }
  }

  #begin(): void {
    const begun = { number: this.#begun, address: this.#addressOf(this.#begun) };
    this.#running.set(this.#begun, attempt(begun, this.#options, this.#signal));
    this.#begun += 1;
  }

  #addressOf(number: number): string {
    return this.#addresses[number % this.#addresses.length] ?? '';
  }

  /** What happens next to one that runs, or a doubt about the latest. */
  async #next(): Promise<Outcome> {
    if (this.#begun >= Math.max(mostAttempts, this.#addresses.length)) return Promise.race(this.#running.values());
    const latest = { number: this.#begun - 1, address: this.#addressOf(this.#begun - 1) };
    let cancel: Cancel = () => {};
    const doubt = new Promise<Outcome>((resolve) => {
      cancel = this.#options.clock.after(doubtedAfterMs, () => resolve({ kind: 'doubted', ...latest }));
    });
    return Promise.race([...this.#running.values(), doubt]).finally(() => cancel());
  }

  #dropOthers(winner: Dialed): Dialed {
    for (const other of this.#running.values()) {
      void other.then((outcome) => {
        if (outcome.kind === 'open') outcome.socket.destroy();
      });
    }
    return winner;
  }
}

async function attempt(begun: Attempt, { trust, port, clock, pace }: Paced, signal: AbortSignal): Promise<Outcome> {
  const { address } = begun;
  const waitMs = pace.takeTurn(address, clock.nowMs()); // control: dial.refused-pace
  if (waitMs === undefined) return { kind: 'failed', error: resting(), ...begun };
  if (waitMs > 0) await pause(clock, waitMs, signal);
  const beganAtMs = clock.nowMs();
  try {
    signal.throwIfAborted();
    const socket = await connectTls(trust, { host: address, port }, signal);
    pace.accepted(address);
    return { kind: 'open', socket, ...begun };
  } catch (thrown) {
    const error = classifyTransportFailure(thrown);
    if (error.class === 'bao_tls_failed') pace.refused(address, clock.nowMs() - beganAtMs, clock.nowMs());
    return { kind: 'failed', error, ...begun };
  }
}

function resting(): ProviderError {
  return new ProviderError(
    'bao_tls_failed',
    'the certificate of this address was refused several times; it rests for a moment',
  );
}

/** A refused certificate says more than an address where nobody listens; else the first cause stands. */
function graver(before: ProviderError | undefined, now: ProviderError): ProviderError {
  return before === undefined || (before.class !== 'bao_tls_failed' && now.class === 'bao_tls_failed') ? now : before;
}
