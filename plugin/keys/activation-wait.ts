// The wait between "stable" and "active": monotonic, in memory, for exactly one key_id (rotation 7). What an earlier plugin
// has waited comes from the supervisor and counts from the first good observation of this one.

export class ActivationWait {
  readonly #delayMs: number;
  #inherited: { readonly keyId: string; readonly elapsedMs: number } | undefined;
  #waiting: { readonly keyId: string; readonly endsAtMs: number } | undefined;

  constructor(delayMs: number, inherited: { readonly keyId: string; readonly elapsedMs: number } | undefined) {
    this.#delayMs = delayMs;
    this.#inherited = inherited;
  }

  /** Tells which key_id a saved and published observation found stable; none, or another one, ends the wait. */
  observed(keyId: string | undefined, nowMs: number): void {
    if (keyId === undefined) this.#waiting = undefined;
    else if (keyId !== this.#waiting?.keyId) {
      const elapsedMs = this.#inherited?.keyId === keyId ? this.#inherited.elapsedMs : 0;
      this.#waiting = { keyId, endsAtMs: nowMs + Math.max(0, this.#delayMs - elapsedMs) };
    }
    this.#inherited = undefined;
  }

  /** The key_id whose wait is over, if any. */
  elapsedKeyId(nowMs: number): string | undefined {
    return this.#waiting !== undefined && nowMs >= this.#waiting.endsAtMs ? this.#waiting.keyId : undefined;
  }
}
