// Decrypts on their way to OpenBao: identical calls share one, distinct ones take a slot or wait their turn within their deadline, and
// those that wait leave together when a slot is free. A refused Decrypt fails somebody's request, so refusing is the last resort
// (spec/kms 4.2 to 4.4). This is also the one place that turns admitted Decrypts into calls.

import { ProviderError } from '../../shared/errors/error.ts';
import type { Cancel, Clock } from '../../shared/time/clock.ts';
import type { BatchSwitch } from './batch-switch.ts';
import { concurrencyLimit, FairShare, type Share } from './fair-share.ts';
import { WaitingLine } from './waiting-line.ts';

/** What became of one of several that went together. */
export type Decrypted = { readonly plaintext: Buffer } | { readonly error: unknown };

export type SendTogether<Item> = (
  items: readonly Item[],
  signal: AbortSignal,
) => Promise<readonly (Decrypted | undefined)[] | undefined>;

export type Batches<Item> = {
  readonly switch: BatchSwitch;
  /** Requests at a time, of one Decrypt or of many: more of them do not help. */
  readonly slots: number;
  /** That leave together at most. */
  readonly maxItems: number;
  /**
   * One outcome for each item, in their order; undefined: this one is to go alone.
   *
   * @returns undefined: OpenBao does not take them together, each is to go alone
   * @throws ProviderError for all of them
   */
  readonly send: SendTogether<Item>;
};

export type DecryptQueueOptions<Item> = {
  readonly clock: Pick<Clock, 'after' | 'nowMs'>;
  /** Requests at a time while each has one Decrypt. */
  readonly slots: number;
  /** Distinct calls that may wait. */
  readonly maxWaiting: number;
  /** A call that has not begun this long before its deadline cannot be met any more. */
  readonly marginMs: number;
  readonly send: (item: Item, signal: AbortSignal) => Promise<Buffer>;
  /** Without it each goes alone. */
  readonly batches?: Batches<Item> | undefined;
  /** Hears that the queue was full. */
  readonly full?: () => void;
};

export type DecryptCall<Item> = {
  /** Equal for calls that must have equal answers: a hash of ciphertext, key_id and annotations. */
  readonly identity: string;
  /** Whose call it is. */
  readonly connection: object;
  readonly deadlineMs: number;
  readonly signal: AbortSignal;
  readonly item: Item;
};

/** One request to OpenBao. */
type Flight = { readonly controller: AbortController; wanted: number };

type Shared<Item> = {
  readonly identity: string;
  readonly connection: object;
  readonly item: Item;
  readonly answer: PromiseWithResolvers<Buffer>;
  /** On its way since; undefined: it waits. */
  flight: Flight | undefined;
  /** It went with others once, and OpenBao did not take them together. */
  isAlone: boolean;
  isSettled: boolean;
  waiters: number;
  /** Its place among those that wait. */
  place: Share | undefined;
};

export class DecryptQueue<Item> {
  readonly #options: DecryptQueueOptions<Item>;
  readonly #byIdentity = new Map<string, Shared<Item>>();
  readonly #line = new WaitingLine<Shared<Item>>();
  readonly #alone = new WaitingLine<Shared<Item>>();
  readonly #places: FairShare;
  #running = 0;

  constructor(options: DecryptQueueOptions<Item>) {
    this.#options = options;
    this.#places = new FairShare({
      capacity: options.maxWaiting,
      yields: 'fairly',
      ...(options.full === undefined ? {} : { reached: options.full }),
    });
  }

  get waiting(): number {
    return this.#line.size + this.#alone.size;
  }

  /**
   * The plaintext, a copy of the caller's own.
   *
   * @throws ProviderError `concurrency_limit` when the queue is full or the deadline cannot be met; the signal's reason;
   *   what sending throws
   */
  async decrypt(call: DecryptCall<Item>): Promise<Buffer> {
    const shared = this.#byIdentity.get(call.identity) ?? this.#admit(call);
    shared.waiters += 1;
    try {
      return Buffer.from(await this.#wait(shared, call));
    } finally {
      this.#left(shared);
    }
  }

  #admit({ identity, connection, item }: DecryptCall<Item>): Shared<Item> {
    const shared: Shared<Item> = {
      identity,
      connection,
      item,
      answer: Promise.withResolvers<Buffer>(),
      flight: undefined,
      isAlone: false,
      isSettled: false,
      waiters: 0,
      place: undefined,
    };
    shared.answer.promise.catch(() => undefined);
    // control: decrypt.slots
    if (this.#running >= this.#slots()) {
      shared.place = this.#places.take(connection, 1, () => this.#giveWay(shared));
      this.#line.add(shared);
    }
    this.#byIdentity.set(identity, shared);
    if (shared.place === undefined) {
      this.#line.began(shared);
      this.#begin([shared]);
    }
    return shared;
  }

  /** Requests at a time now. */
  #slots(): number {
    const { slots, batches } = this.#options;
    return batches?.switch.isOn() === true ? Math.min(slots, batches.slots) : slots;
  }

  /** Somebody with fewer calls needs its place. */
  #giveWay(shared: Shared<Item>): void {
    this.#stopWaiting(shared);
    this.#settle(shared, { error: concurrencyLimit() });
  }

  #stopWaiting(shared: Shared<Item>): void {
    this.#line.remove(shared);
    this.#alone.remove(shared);
    shared.place?.release();
  }

  /** Fills the slots that are free, first with those that OpenBao did not take together. */
  #beginWaiting(): void {
    const { slots, batches } = this.#options;
    while (this.#running < slots && this.#alone.size > 0) this.#begin(this.#alone.begin(1));
    while (this.#running < this.#slots() && this.#line.size > 0) {
      this.#begin(this.#line.begin(batches?.switch.isOn() === true ? batches.maxItems : 1));
    }
  }

  /** They count as running in their line already. */
  #begin(several: readonly Shared<Item>[]): void {
    const flight: Flight = { controller: new AbortController(), wanted: several.length };
    for (const shared of several) {
      shared.place?.release();
      shared.flight = flight;
    }
    this.#running += 1;
    const [only] = several;
    const sent = several.length === 1 && only !== undefined ? this.#send(only, flight) : this.#sendAll(several, flight);
    void sent.then(() => {
      this.#running -= 1;
      this.#beginWaiting();
    });
  }

  async #send(shared: Shared<Item>, { controller }: Flight): Promise<void> {
    try {
      this.#settle(shared, { plaintext: await this.#options.send(shared.item, controller.signal) });
    } catch (error) {
      this.#settle(shared, { error });
    }
    this.#ended(shared);
  }

  /** Never throws. */
  async #sendAll(several: readonly Shared<Item>[], { controller }: Flight): Promise<void> {
    const outcomes = await this.#outcomesOf(several, controller.signal);
    for (const [index, shared] of several.entries()) {
      this.#ended(shared);
      const outcome = outcomes?.[index];
      if (outcome !== undefined) this.#settle(shared, outcome);
      else if (!shared.isSettled) this.#sendAlone(shared);
    }
  }

  async #outcomesOf(
    several: readonly Shared<Item>[],
    signal: AbortSignal,
  ): Promise<readonly (Decrypted | undefined)[] | undefined> {
    const { batches } = this.#options;
    const items = several.map(({ item }) => item);
    try {
      const outcomes = await batches?.send(items, signal);
      if (outcomes === undefined) batches?.switch.refused();
      else batches?.switch.accepted();
      return outcomes;
    } catch (error) {
      return several.map(() => ({ error }));
    }
  }

  #ended(shared: Shared<Item>): void {
    (shared.isAlone ? this.#alone : this.#line).ended(shared);
  }

  /** Once, and only while somebody waits for it. */
  #sendAlone(shared: Shared<Item>): void {
    shared.flight = undefined;
    shared.isAlone = true;
    if (shared.waiters > 0) this.#alone.add(shared);
    else this.#settle(shared, { error: abandoned() });
  }

  #settle(shared: Shared<Item>, outcome: Decrypted): void {
    shared.isSettled = true;
    this.#forget(shared);
    if ('plaintext' in outcome) shared.answer.resolve(outcome.plaintext);
    else shared.answer.reject(outcome.error);
  }

  #wait(shared: Shared<Item>, call: DecryptCall<Item>): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const leave = () => settle(() => reject(call.signal.reason));
      const cancel = this.#watchDeadline(shared, call, () => settle(() => reject(concurrencyLimit())));
      const settle = (tell: () => void) => {
        cancel();
        call.signal.removeEventListener('abort', leave);
        tell();
      };
      if (call.signal.aborted) return leave();
      call.signal.addEventListener('abort', leave, { once: true });
      shared.answer.promise.then(
        (plaintext) => settle(() => resolve(plaintext)),
        (error: unknown) => settle(() => reject(error)),
      );
    });
  }

  #watchDeadline(shared: Shared<Item>, call: DecryptCall<Item>, expire: () => void): Cancel {
    if (shared.flight !== undefined) return () => {};
    const leftMs = call.deadlineMs - this.#options.marginMs - this.#options.clock.nowMs();
    return this.#options.clock.after(Math.max(0, leftMs), () => {
      if (shared.flight === undefined) expire();
    });
  }

  #left(shared: Shared<Item>): void {
    shared.waiters -= 1;
    if (shared.waiters > 0) return;
    this.#stopWaiting(shared);
    this.#forget(shared);
    if (!shared.isSettled && shared.flight !== undefined) unwanted(shared.flight);
    void shared.answer.promise.then((plaintext) => plaintext.fill(0)).catch(() => undefined); // control: decrypt.wipe
  }

  #forget(shared: Shared<Item>): void {
    if (this.#byIdentity.get(shared.identity) === shared) this.#byIdentity.delete(shared.identity);
  }
}

/** A request is given up when nobody waits for anything of it any more. */
function unwanted(flight: Flight): void {
  flight.wanted -= 1;
  if (flight.wanted === 0) flight.controller.abort(abandoned()); // control: decrypt.abort-unwanted
}

function abandoned(): ProviderError {
  return new ProviderError('canceled', 'nobody waits for this call any more');
}
