// What an operator, or bad luck, does to a serving provider, under load: calls lost, and how long nothing was answered.

import type { Provider } from '../support/provider.ts';
import { noteErrors } from './load.ts';
import type { Place } from './place.ts';
import { median } from './statistics.ts';
import { shown, table } from './table.ts';
import type { Figures } from './targets.ts';

const rounds = 5;
/** Of load before and after what happens. */
const calmMs = 100;
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

const names = ['none', 'plugin replaced', 'JWT rotated', 'CA rotated', 'plugin killed'] as const;
type Acts = Readonly<Record<(typeof names)[number], (round: number) => Promise<void>>>;

/** Each resolves when it is over. */
function actsOf({ workplace, issuer, bao }: Place, running: Provider): Acts {
  const count = (message: string) => running.log.filter((line) => line.message === message).length;
  const after = async (message: string, act: () => void) => {
    const before = count(message);
    act();
    while (count(message) === before) await pause(5);
  };
  const rotated = (act: () => void) => after('credential.in_use', act);
  const { jwtPath, caPath, replaceFile } = workplace;
  return {
    none: async () => void (await pause(500)),
    'plugin replaced': () => after('reload.done', () => running.child.kill('SIGHUP')),
    'JWT rotated': (round) => rotated(() => replaceFile(jwtPath, issuer.issue({ jti: `${Date.now()} ${round}` }))),
    'CA rotated': (round) => rotated(() => replaceFile(caPath, `${bao.ca}${'\n'.repeat(round + 1)}`, 0o644)),
    'plugin killed': () => after('plugin.started', () => process.kill(running.pluginPid(), 'SIGKILL')),
  };
}

const nameOf = (name: string) => name.toLowerCase().replaceAll(' ', '_');

/** Each of them several times with 16 in flight, on a provider that has served already. */
export async function measureDisturbances(place: Place, running: Provider): Promise<Figures> {
  const { client, failures } = place;
  const figures: Record<string, number> = {};
  const acts = actsOf(place, running);
  for (const name of names) {
    const gaps: number[] = [];
    let lost = 0;
    for (let round = 0; round < rounds; round += 1) {
      const { begun, measured, stop } = client.measure({ target: 'decrypt', inFlight: 16, timeoutMs: 10_000 });
      await begun;
      await pause(calmMs);
      await acts[name](round);
      await pause(calmMs);
      stop();
      const { failed, errors, longestGapMs } = await measured;
      gaps.push(longestGapMs);
      lost += failed;
      noteErrors(failures, errors);
    }
    figures[`${nameOf(name)}_lost`] = lost;
    figures[`${nameOf(name)}_gap_ms`] = median(gaps);
  }
  return figures;
}

export function disturbanceTable(figures: Figures): string[] {
  const rows = names.map((name) => [
    name,
    shown(figures[`${nameOf(name)}_lost`], 0),
    shown(figures[`${nameOf(name)}_gap_ms`], 0),
  ]);
  return table([`${rounds} times, 16 in flight`, 'calls lost', 'longest gap between answers, ms (median)'], rows);
}
