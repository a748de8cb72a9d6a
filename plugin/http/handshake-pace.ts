// How often an address is tried whose certificate was refused. Who is at the address of OpenBao without its certificate can send a
// chain that takes the event loop half a second to refuse; so such an address rests four times as long as its handshake took.

/** Share of the time that is left for everything else: the rest after a handshake, in handshakes. */
const maxRestHandshakes = 4;
/** A longer rest would delay a node that has got its right certificate again, milliseconds. */
const maxRestMs = 2_000;
/** Who would have to wait longer for a turn is told so at once, milliseconds. */
const maxWaitMs = 2_000;
/** More addresses than a name has; the oldest is forgotten. */
const maxAddresses = 64;

type Pace = { readonly restMs: number; nextAtMs: number };

export class HandshakePace {
  readonly #paces = new Map<string, Pace>();

  /** The certificate of the address was refused, after so many milliseconds. */
  refused(address: string, tookMs: number, nowMs: number): void {
    const restMs = Math.min(maxRestMs, maxRestHandshakes * Math.max(0, tookMs));
    const before = this.#paces.get(address)?.nextAtMs ?? 0;
    this.#paces.delete(address);
    this.#paces.set(address, { restMs, nextAtMs: Math.max(before, nowMs + restMs) });
    const [oldest] = this.#paces.keys();
    if (this.#paces.size > maxAddresses && oldest !== undefined) this.#paces.delete(oldest);
  }

  /** The certificate was accepted: others are not kept waiting. */
  accepted(address: string): void {
    this.#paces.delete(address);
  }

  /**
   * Takes the next turn for a handshake with an address.
   *
   * @returns how long to wait for it, milliseconds; undefined: too long, and no turn was taken
   */
  takeTurn(address: string, nowMs: number): number | undefined {
    const pace = this.#paces.get(address);
    if (pace === undefined) return 0;
    const atMs = Math.max(nowMs, pace.nextAtMs);
    if (atMs - nowMs > maxWaitMs) return undefined;
    pace.nextAtMs = atMs + pace.restMs;
    return atMs - nowMs;
  }
}
