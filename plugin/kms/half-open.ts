// Calls whose body has not come, and answers that nobody takes: what they hold is counted in bytes for the whole server, the oldest
// goes first when that is too much, and each ends in time.

import type { Cancel, Clock } from '../../shared/time/clock.ts';
import { type BoundReached, greatestHalfOpenBytes, streamBytes, transferMs } from './bounds.ts';

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

type Held = { sizeBytes: number; readonly giveUp: () => void };

export class HalfOpenStreams {
  readonly #clock: Pick<Clock, 'after'>;
  readonly #bodyMs: number;
  readonly #reached: BoundReached;
  /** The oldest first. */
  readonly #held = new Set<Held>();
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

  open(ends: StreamEnds): HalfOpenStream {
    let held: Held | undefined;
    let cancel: Cancel = () => {};
    const leave = () => {
      cancel();
      if (held !== undefined && this.#held.delete(held)) this.#sizeBytes -= held.sizeBytes;
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
        leave();
        late();
      });
      this.#held.add(entry);
      this.#add(streamBytes);
    };
    hold(ends.refuse, this.#bodyMs, () => {
      this.#reached('body_late');
      ends.timeOut();
    });
    return {
      grew: (sizeBytes) => {
        if (held === undefined) return;
        held.sizeBytes += sizeBytes;
        this.#add(sizeBytes);
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

  #add(sizeBytes: number): void {
    this.#sizeBytes += sizeBytes;
    while (this.#sizeBytes > greatestHalfOpenBytes) {
      const [oldest] = this.#held;
      if (oldest === undefined) return;
      this.#reached('half_open_bytes');
      oldest.giveUp();
    }
  }
}
