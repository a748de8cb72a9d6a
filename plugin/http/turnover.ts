// How many connections may be given up for fresh ones. Looking for a better node is worth a burst; when all of OpenBao is
// sealed it is worth a trickle, or every call would cost both sides two handshakes.

export type Turnover = {
  readonly isAllowed: () => boolean;
  readonly spend: (connections: number) => void;
};

/** A burst of twice the pool, then the whole pool once a second. */
export function createTurnover(connections: number, nowMs: () => number): Turnover {
  const most = 2 * connections;
  let left = most;
  let countedAtMs = nowMs();
  const refill = () => {
    const now = nowMs();
    left = Math.min(most, left + ((now - countedAtMs) * connections) / 1000);
    countedAtMs = now;
  };
  return {
    isAllowed: () => {
      refill();
      return left >= 1;
    },
    spend: (spent) => {
      left -= spent;
    },
  };
}
