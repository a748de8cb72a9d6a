// From a start to the first answer, and from a crash to the next one.

import { startProvider } from '../support/provider.ts';
import type { Place } from './place.ts';
import { median } from './statistics.ts';
import { shown } from './table.ts';
import type { Figures } from './targets.ts';

const launches = 5;

/** Medians; each crash is the first of its provider, since later ones are relaunched after a pause. */
export async function measureLaunches({ workplace, client }: Place): Promise<Figures> {
  const times: { readonly answered: number; readonly healthy: number; readonly crash: number }[] = [];
  for (let count = 0; count < launches; count += 1) {
    const startedAtMs = performance.now();
    const provider = startProvider(workplace);
    await client.first('answer');
    const answered = performance.now() - startedAtMs;
    await client.first('ok');
    const healthy = performance.now() - startedAtMs;
    await provider.event('plugin.started');
    process.kill(provider.pluginPid(), 'SIGKILL');
    const killedAtMs = performance.now();
    await client.first('answer');
    times.push({ answered, healthy, crash: performance.now() - killedAtMs });
    await provider.stop();
  }
  return {
    launch_answered_ms: median(times.map(({ answered }) => answered)),
    launch_healthy_ms: median(times.map(({ healthy }) => healthy)),
    crash_answered_ms: median(times.map(({ crash }) => crash)),
  };
}

export function launchLines(figures: Figures): string[] {
  const ms = (name: string) => `${shown(figures[name], 0)} ms`;
  return [
    `launch to first answered Status ${ms('launch_answered_ms')}, to first healthy ${ms('launch_healthy_ms')} (medians of ${launches})`,
    `plugin killed: next call answered after ${ms('crash_answered_ms')} (median of ${launches}, each the first crash of its provider)`,
  ];
}
