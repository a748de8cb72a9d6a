// The connections to one diagnostics port: few at a time, none for long. Whoever has not asked yet makes room for the next one, so
// that slow strangers cannot keep a liveness probe out.

import type { Clock } from '../../shared/time/clock.ts';

/** At the same time on one port, beside those that have just come; a scraper and a kubelet need one each. */
export const maxVisitors = 16;
/** Whoever has just come is heard first: its request may be on its way. */
export const heardMs = 100;
/** With those that have just come; 512 connections take some 5 MB. */
export const maxCrowd = 512;
/** One that has not sent its request by then goes first when it is crowded. */
export const slowAfterMs = 2_000;
/** For those that are there when the listener closes. */
export const closingMs = 1_000;
/** From the accept to the end, whatever the client does. */
export const maxVisitMs = 5_000;

export type Visitor = {
  /** It sent its whole request. */
  readonly isServed: boolean;
  readonly end: () => void;
};

export type Visitors = {
  /** Others make room for it. @returns what to call when it has left */
  readonly enter: (visitor: Visitor) => () => void;
  /**
   * Those that came are still heard for 100 ms, and get their answer.
   *
   * @returns resolves when all have left, or after a second
   */
  readonly close: () => Promise<void>;
};

export type VisitorRefusal = 'crowded' | 'slow';

/** @param refused  told of every visitor that was ended before it was served */
export function createVisitors(clock: Clock, refused: (reason: VisitorRefusal) => void): Visitors {
  const present = new Map<Visitor, number>();
  let whenEmpty = () => {};
  const end = (visitor: Visitor, reason: VisitorRefusal) => {
    if (!present.delete(visitor)) return;
    if (!visitor.isServed) refused(reason);
    visitor.end();
  };
  /** Ends those that are too many and have been heard; of too great a crowd, also those that have just come, the first of them first. */
  const makeRoom = () => {
    const nowMs = clock.nowMs();
    const heard = leavingOrder(present, nowMs).filter((visitor) => nowMs - (present.get(visitor) ?? 0) >= heardMs);
    for (const visitor of heard.slice(0, Math.max(0, present.size - maxVisitors))) end(visitor, 'crowded');
    if (present.size <= maxCrowd) return;
    for (const visitor of leavingOrder(present, nowMs).slice(0, present.size - maxCrowd)) end(visitor, 'crowded');
  };
  let isRoomPlanned = false;
  const planRoom = () => {
    if (isRoomPlanned || present.size <= maxVisitors) return;
    isRoomPlanned = true;
    clock.after(heardMs, () => {
      isRoomPlanned = false;
      makeRoom();
      planRoom();
    });
  };
  const endUnheard = () => {
    for (const visitor of [...present.keys()].filter(({ isServed }) => !isServed)) visitor.end();
  };
  return {
    enter: (visitor) => {
      present.set(visitor, clock.nowMs());
      planRoom(); // control: visitors.make-room
      if (present.size > maxCrowd) makeRoom();
      const cancel = clock.after(maxVisitMs, () => end(visitor, 'slow'));
      return () => {
        cancel();
        present.delete(visitor);
        if (present.size === 0) whenEmpty();
      };
    },
    close: async () => {
      if (present.size === 0) return;
      const cancelHearing = clock.after(heardMs, endUnheard);
      const cancelWait = clock.after(closingMs, () => whenEmpty());
      await new Promise<void>((resolve) => {
        whenEmpty = resolve;
      });
      cancelHearing();
      cancelWait();
    },
  };
}

/** The slow ones, then those that have not asked, then those that read their answer; the oldest of each first. */
function leavingOrder(present: ReadonlyMap<Visitor, number>, nowMs: number): Visitor[] {
  const rank = ([visitor, sinceMs]: readonly [Visitor, number]) => {
    if (visitor.isServed) return 2;
    return nowMs - sinceMs >= slowAfterMs ? 0 : 1;
  };
  return [...present].sort((one, other) => rank(one) - rank(other) || one[1] - other[1]).map(([visitor]) => visitor);
}
