// Which connections there are, which one makes room for a newcomer, and which one has been idle for too long. Decides; closing
// is done by whoever handed the connection in.

import type { Cancel, Clock } from '../../shared/time/clock.ts';
import {
  type BoundReached,
  goodbyeMs,
  idleConnectionMs,
  maxConnections,
  maxResets,
  resetsPerSecond,
  restingConnectionMs,
  unusedConnectionMs,
} from './bounds.ts';

export type ConnectionEnds = {
  /** Tells the peer to go (GOAWAY); calls in flight are finished. */
  readonly sayGoodbye: () => void;
  /** Ends it at once. */
  readonly cut: () => void;
};

/** One connection, as the one who serves it tells of it. */
export type Connection = {
  readonly streamOpened: () => void;
  /** `isGivenUp`: the client took the call back. */
  readonly streamClosed: (isGivenUp: boolean) => void;
  /** A call has got its answer. */
  readonly answered: () => void;
  readonly closed: () => void;
};

type State = ConnectionEnds & {
  streams: number;
  hasServed: boolean;
  /** Since when it has been without a stream. */
  idleSinceMs: number;
  resets: number;
  resetsAtMs: number;
  cancel: Cancel;
};

export class Connections {
  readonly #clock: Pick<Clock, 'after' | 'nowMs'>;
  readonly #reached: BoundReached;
  /** In the order of opening. */
  readonly #states = new Set<State>();

  constructor(clock: Pick<Clock, 'after' | 'nowMs'>, reached: BoundReached) {
    this.#clock = clock;
    this.#reached = reached;
  }

  get count(): number {
    return this.#states.size;
  }

  /**
   * Whether one more may come. When all places are taken, one that waits for nothing is cut for it: first the one that has been
   * idle for longest without ever having had an answer, then one that has rested for three Status intervals.
   */
  hasRoom(): boolean {
    if (this.#states.size < maxConnections) return true; // control: connections.max
    // control: connections.unused
    const victim = this.#idlest(false, unusedConnectionMs) ?? this.#idlest(true, restingConnectionMs);
    if (victim === undefined) {
      this.#reached('connections');
      return false;
    }
    this.#reached('connection_unused');
    this.#forget(victim);
    victim.cut();
    return true;
  }

  open(ends: ConnectionEnds): Connection {
    const nowMs = this.#clock.nowMs();
    const state: State = {
      ...ends,
      streams: 0,
      hasServed: false,
      idleSinceMs: nowMs,
      resets: 0,
      resetsAtMs: nowMs,
      cancel: () => {},
    };
    this.#states.add(state);
    this.#awaitIdle(state);
    return {
      streamOpened: () => {
        state.streams += 1;
        state.cancel();
      },
      streamClosed: (isGivenUp) => {
        state.streams -= 1;
        if (isGivenUp) this.#countReset(state);
        if (state.streams > 0 || !this.#states.has(state)) return;
        state.idleSinceMs = this.#clock.nowMs();
        this.#awaitIdle(state);
      },
      answered: () => {
        state.hasServed = true;
      },
      closed: () => this.#forget(state),
    };
  }

  #idlest(hasServed: boolean, sinceMs: number): State | undefined {
    const atMs = this.#clock.nowMs() - sinceMs;
    let idlest: State | undefined;
    for (const state of this.#states) {
      if (state.streams > 0 || state.hasServed !== hasServed || state.idleSinceMs > atMs) continue;
      if (idlest === undefined || state.idleSinceMs < idlest.idleSinceMs) idlest = state;
    }
    return idlest;
  }

  #awaitIdle(state: State): void {
    state.cancel = this.#clock.after(idleConnectionMs, () => {
      this.#reached('connection_idle');
      state.sayGoodbye(); // control: connections.goodbye
      state.cancel = this.#clock.after(goodbyeMs, state.cut);
    });
  }

  #countReset(state: State): void {
    const nowMs = this.#clock.nowMs();
    const forgotten = ((nowMs - state.resetsAtMs) / 1_000) * resetsPerSecond;
    state.resets = Math.max(0, state.resets - forgotten) + 1;
    state.resetsAtMs = nowMs;
    if (state.resets <= maxResets || !this.#states.has(state)) return; // control: connections.resets
    this.#reached('resets');
    this.#forget(state);
    state.cut();
  }

  #forget(state: State): void {
    state.cancel();
    this.#states.delete(state);
  }
}
