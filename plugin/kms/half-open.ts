// Calls whose body has not come, and answers that nobody takes: what they hold is counted in bytes for the whole server. When that is
// too much, the connection that holds most loses its oldest, so that a stranger who fills it takes nothing from others; and each ends in time.

import type { Cancel, Clock } from '../../shared/time/clock.ts';
import { type BoundReached, maxHalfOpenBytes, streamBytes, transferMs } from './bounds.ts';

/** What becomes of a stream that is given up. */
export type StreamEnds = {
  /** It was never served: the client may send it again. */
  readonly refuse: () => void;
  /** Its body is late. */
  readonly timeOut: () => void;
  /** Its answer is not taken. */
  readonly drop: () => void;
};

export type HalfOpenStream = {
  /** So many more bytes of its body are kept. */
  readonly grew: (sizeBytes: number) => void;
  /** The body is complete: from now on the limits of the methods count. */
  readonly complete: () => void;
  /** The answer was handed out and waits to be taken. */
  readonly answered: () => void;
  readonly closed: () => void;
};

/** Of one connection; the oldest first. */
type Holder = { sizeBytes: number; readonly held: Set<Held> };
type Held = { sizeBytes: number; readonly giveUp: () => void };

export class HalfOpenStreams {
  readonly #clock: Pick<Clock, 'after'>;
  readonly #bodyMs: number;
  readonly #reached: BoundReached;
  readonly #holders = new Map<object, Holder>();
  #sizeBytes = 0;

  /** @param timeoutMs  of a whole call; 0 means none, and then the transfer has a limit of its own */
  constructor(clock: Pick<Clock, 'after'>, timeoutMs: number, reached: BoundReached) {
    this.#clock = clock;
    this.#bodyMs = timeoutMs === 0 ? transferMs : timeoutMs;
    this.#reached = reached;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** @param connection  whose stream it is */
  open(connection: object, ends: StreamEnds): HalfOpenStream {
    let held: Held | undefined;
    let cancel: Cancel = () => {};
    const leave = () => {
      cancel();
      if (held !== undefined) this.#remove(connection, held);
      held = undefined;
    };
    const hold = (giveUp: () => void, limitMs: number, late: () => void) => {
      leave();
      const entry: Held = {
        sizeBytes: streamBytes,
        giveUp: () => {
          leave();
          giveUp();
        },
      };
      held = entry;
      cancel = this.#clock.after(limitMs, () => {
        leave(); // control: half-open.body-late
        late();
      });
      const holder = this.#holders.get(connection) ?? { sizeBytes: 0, held: new Set<Held>() };
      this.#holders.set(connection, holder);
      holder.held.add(entry);
      this.#add(holder, streamBytes);
    };
    hold(ends.refuse, this.#bodyMs, () => {
      this.#reached('body_late');
      ends.timeOut();
    });
    return {
      grew: (sizeBytes) => {
        const holder = this.#holders.get(connection);
        if (held === undefined || holder === undefined) return;
        held.sizeBytes += sizeBytes;
        this.#add(holder, sizeBytes);
      },
      complete: leave,
      answered: () =>
        hold(ends.drop, transferMs, () => {
          this.#reached('answer_untaken');
          ends.drop();
        }),
      closed: leave,
    };
  }

  #add(holder: Holder, sizeBytes: number): void {
    holder.sizeBytes += sizeBytes;
    this.#sizeBytes += sizeBytes;
    // control: half-open.max-bytes
    while (this.#sizeBytes > maxHalfOpenBytes) {
      const [oldest] = this.#greatest()?.held ?? [];
      if (oldest === undefined) return;
      this.#reached('half_open_bytes');
      oldest.giveUp();
    }
  }

  #remove(connection: object, held: Held): void {
    const holder = this.#holders.get(connection);
    if (holder?.held.delete(held) !== true) return;
    holder.sizeBytes -= held.sizeBytes;
    this.#sizeBytes -= held.sizeBytes;
    if (holder.held.size === 0) this.#holders.delete(connection);
  }

  /** There are no more holders than connections. */
  #greatest(): Holder | undefined {
    let greatest: Holder | undefined;
    for (const holder of this.#holders.values()) {
      // control: half-open.greatest
      if (greatest === undefined || holder.sizeBytes > greatest.sizeBytes) greatest = holder;
    }
    return greatest;
  }
}
