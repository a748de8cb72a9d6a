// What is promised of speed, CPU and memory, and whether a run has kept it. Pure.

/** By their names; one that is absent was not measured. */
export type Figures = Readonly<Record<string, number>>;

export type TargetRow = {
  readonly title: string;
  readonly figure: string;
  readonly unit: string;
  readonly digits: number;
  /** The figure is to be at least that much, or at most. */
  readonly sense: 'at least' | 'at most';
  readonly must: number;
  readonly goal: number;
};

const atLeast = (title: string, figure: string, must: number, goal: number): TargetRow => ({
  ...{ title, figure, must, goal, unit: '', digits: 2, sense: 'at least' },
});
const atMost = (title: string, figure: string, unit: string, must: number, goal: number, digits = 0): TargetRow => ({
  ...{ title, figure, must, goal, unit, digits, sense: 'at most' },
});

/** Meant for a real OpenBao, the Go client, and a machine on which nothing else runs. */
export const targets: readonly TargetRow[] = [
  atLeast('Decrypt at 64, of raw', 'decrypt_64_of_raw', 1, 1.5),
  atLeast('Decrypt at 16, of raw', 'decrypt_16_of_raw', 0.7, 0.9),
  atMost('Decrypt p50 at 1, above raw', 'decrypt_1_p50_above_raw_ms', 'ms', 0.55, 0.4, 2),
  atMost('plugin CPU of a Decrypt at 64', 'decrypt_64_plugin_us', 'µs', 190, 130),
  atMost('plugin CPU of a Decrypt at 16', 'decrypt_16_plugin_us', 'µs', 280, 200),
  atLeast('Encrypt at 16, of raw', 'encrypt_16_of_raw', 0.5, 0.6),
  atMost('plugin CPU of a Status at 64', 'status_64_plugin_us', 'µs', 80, 65),
  atMost('idle PSS of both', 'idle_pss_mb', 'MB', 95, 80),
  atMost('PSS after 100 000 Decrypts at 64', 'flood_pss_mb', 'MB', 140, 110),
  atMost('launch to first Status', 'launch_answered_ms', 'ms', 350, 250),
  atMost('next answer after a crash, median', 'crash_answered_ms', 'ms', 200, 120),
];

export type Verdict = 'met' | 'not met';

/** A figure that is missing, or is no number, keeps no promise. */
export function verdictOf({ figure, sense }: TargetRow, bound: number, figures: Figures): Verdict {
  const value = figures[figure];
  if (value === undefined || !Number.isFinite(value)) return 'not met';
  return (sense === 'at least' ? value >= bound : value <= bound) ? 'met' : 'not met';
}
