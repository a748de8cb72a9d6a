// Memory of both processes: idle, after a flood of Decrypts, and along a million of them.

import { preparedSeeds } from './calls.ts';
import { noteErrors } from './load.ts';
import { memoryOf, type Pair, type Pids, sumOf } from './meter.ts';
import type { Place } from './place.ts';
import { shown, table } from './table.ts';
import type { Figures } from './targets.ts';

const floodCalls = 100_000;
const steps = Array.from({ length: 10 }, (_, index) => (index + 1) * floodCalls);
/** After its start, until it is idle. */
const restMs = 3_000;

const figuresOf = (name: string, pair: Pair): Figures => ({
  [`${name}_pss_mb`]: sumOf(pair),
  [`${name}_supervisor_pss_mb`]: pair.supervisor,
  [`${name}_plugin_pss_mb`]: pair.plugin,
});

/** Of a provider that has just become healthy and has served nothing but that. */
export async function measureIdle(pids: Pids): Promise<Figures> {
  await new Promise((resolve) => setTimeout(resolve, restMs));
  return figuresOf('idle', memoryOf(pids));
}

/** Whether all of them were served; when not, the memory afterwards is not that of so many Decrypts. */
async function flood({ client, failures }: Place): Promise<boolean> {
  const { failed, errors } = await client.measure({ target: 'decrypt', inFlight: 64, calls: floodCalls }).measured;
  noteErrors(failures, errors);
  return failed === 0;
}

export async function measureFlood(place: Place, pids: Pids): Promise<Figures> {
  return (await flood(place)) ? figuresOf('flood', memoryOf(pids)) : {};
}

/** PSS after each 100 000 of a million Decrypts, with 64 in flight. */
export async function measureCurve(place: Place, pids: Pids, tell: (what: string) => void): Promise<Figures> {
  const figures: Record<string, number> = {};
  await place.client.prepare(preparedSeeds);
  for (const calls of steps) {
    if (!(await flood(place))) continue;
    const pair = memoryOf(pids);
    Object.assign(figures, figuresOf(`curve_${calls}`, pair));
    tell(`${calls} Decrypts: ${shown(sumOf(pair), 1)} MB`);
  }
  return figures;
}

function memoryRows(rows: readonly (readonly [title: string, name: string])[], figures: Figures): string[] {
  const whose = ['supervisor_', 'plugin_', ''];
  return table(
    ['PSS, MB', 'supervisor', 'plugin', 'together'],
    rows.map(([title, name]) => [title, ...whose.map((one) => shown(figures[`${name}_${one}pss_mb`], 1))]),
  );
}

export const memoryTable = (figures: Figures): string[] =>
  memoryRows(
    [
      ['idle', 'idle'],
      [`after the calls above and ${floodCalls} Decrypts at 64`, 'flood'],
    ],
    figures,
  );

export const curveTable = (figures: Figures): string[] =>
  memoryRows(
    steps.map((calls) => [`after ${calls} Decrypts at 64`, `curve_${calls}`]),
    figures,
  );
