// Since when an address has had a node that cannot serve. What was idle when the trouble began is closed; what carried a good
// answer since then has proven that it leads to another node. Without this a balancer with one sealed node behind it would never
// come to rest: each bad connection would cost several good ones, and a third of their successors would be bad.

export type Troubles = {
  /**
   * Notes that a node at this address could not serve.
   *
   * @returns since when, clock of `nowMs`; Infinity when the trouble begins now
   */
  readonly note: (peer: string) => number;
};

/** So long without a bad answer, and the trouble is over. */
const overAfterMs = 10_000;

export function createTroubles(nowMs: () => number): Troubles {
  const troubles = new Map<string, { readonly sinceMs: number; lastMs: number }>();
  return {
    note: (peer) => {
      const now = nowMs();
      for (const [other, { lastMs }] of troubles) if (now - lastMs >= overAfterMs) troubles.delete(other);
      const trouble = troubles.get(peer);
      if (trouble === undefined) {
        troubles.set(peer, { sinceMs: now, lastMs: now });
        return Number.POSITIVE_INFINITY;
      }
      trouble.lastMs = now;
      return trouble.sinceMs;
    },
  };
}
