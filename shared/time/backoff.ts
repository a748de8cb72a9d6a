// Delays that grow: pure arithmetic, the random number is an argument.

/**
 * Doubling back-off: failure 1 waits `baseMs`, failure n waits `baseMs * 2^(n-1)`, at most `capMs`.
 *
 * @param failures  consecutive failures, at least 1; any size, no overflow
 */
export function doublingDelayMs(failures: number, baseMs: number, capMs: number): number {
  return Math.min(capMs, baseMs * 2 ** Math.min(Math.max(failures, 1) - 1, 60)); // control: backoff.doubling
}

/**
 * Spreads a delay uniformly by ±25 %, never above `capMs`.
 *
 * @param random  0 up to but not including 1
 */
export function jitterMs(delayMs: number, random: number, capMs: number): number {
  return Math.min(capMs, delayMs * (0.75 + random * 0.5));
}
