// Durations as the configuration writes them: "1h30m", "1.5s", "500ms". Exact in nanoseconds, handed out in milliseconds.

import { ProviderError } from '../errors/error.ts';

const unitNanoseconds: Readonly<Record<string, bigint>> = {
  ns: 1n,
  us: 1_000n,
  µs: 1_000n,
  ms: 1_000_000n,
  s: 1_000_000_000n,
  m: 60_000_000_000n,
  h: 3_600_000_000_000n,
};

/** The grammar, also published in the JSON Schema. */
export const durationPattern = '^[+-]?(?:0|(?:(?:[0-9]+(?:\\.[0-9]*)?|\\.[0-9]+)(?:ns|us|µs|ms|s|m|h))+)$';

/** What a text that is no duration should have been. */
export const durationExpected =
  'must be a duration such as 30s or 1h30m, without spaces; its units are ns, us, ms, s, m and h (one day is 24h)';

const whole = new RegExp(durationPattern, 'u');
const part = /([0-9]*)(?:\.([0-9]*))?(ns|us|µs|ms|s|m|h)/gu;
const maxNanoseconds = 2n ** 63n - 1n;

/**
 * Reads a duration.
 *
 * @param text  one or more `<decimal><unit>` parts with an optional sign, or `0`; units ns, us, µs, ms, s, m, h
 * @returns milliseconds, possibly a fraction
 * @throws ProviderError `config_invalid` when the text has no unit, another form, or passes ±(2^63−1) ns
 */
export function parseDurationMs(text: string): number {
  if (text.length > 128 || !whole.test(text)) throw invalidDuration();
  let total = 0n;
  for (const [, digits = '', fraction = '', unit = ''] of text.matchAll(part)) {
    total += partNanoseconds(digits, fraction, unitNanoseconds[unit] ?? 0n);
  }
  if (total > maxNanoseconds) throw invalidDuration();
  const milliseconds = Number(total) / 1e6;
  return text.startsWith('-') ? -milliseconds : milliseconds;
}

function partNanoseconds(digits: string, fraction: string, unit: bigint): bigint {
  const scale = 10n ** BigInt(fraction.length);
  return (BigInt(digits + fraction || '0') * unit) / scale;
}

function invalidDuration(): ProviderError {
  return new ProviderError('config_invalid', durationExpected);
}
