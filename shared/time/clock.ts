// What the world's time looks like to us. Nothing else reads a clock; tests move a fake one.
// Monotonic and wall time never meet in one expression.

export type Cancel = () => void;

export type Clock = {
  /** Monotonic milliseconds since some start of its own. */
  readonly nowMs: () => number;
  /** Wall clock, Unix milliseconds. May jump in both directions. */
  readonly wallMs: () => number;
  /** Runs once after at least `ms`; the returned function takes it back. */
  readonly after: (ms: number, run: () => void) => Cancel;
};
