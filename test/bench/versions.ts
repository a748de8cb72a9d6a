// Whether the cost of a call depends on how much there is: versions of the key with their records, and connections of the socket. And
// what the metadata probe costs, whose answer grows with every version.

import type { Provider } from '../support/provider.ts';
import { type Costed, measureCosted, preparedSeeds, warmUp } from './calls.ts';
import type { Target } from './load.ts';
import { meterCpu } from './meter.ts';
import type { Options } from './options.ts';
import { configure, type Place, withProvider } from './place.ts';
import { acceptAll, rotateTo } from './records.ts';
import { median } from './statistics.ts';
import { shown, table } from './table.ts';
import type { Figures } from './targets.ts';

const few = 1;
const many = 1_000;
const probedMany = 3_000;
const connectionCounts = [1, 64] as const;
const inFlight = 64;
const probeSeconds = 20;
const kmsTargets: readonly Target[] = ['status', 'encrypt', 'decrypt'];
/** Label of the probe's request. */
const metadataRead = 'metadata';
const rawTargets: readonly Target[] = ['raw-encrypt', 'raw-decrypt'];

type Versions = { readonly figures: Record<string, number>; readonly place: Place; readonly options: Options };

/** Calls with 1 and 1 000 versions, 1 and 64 connections (`--flat`); the metadata probe with 1 and 3 000 versions (`--probe`). */
export async function measureVersions(place: Place, options: Options, tell: (what: string) => void): Promise<Figures> {
  const figures: Record<string, number> = {};
  const versions: Versions = { figures, place, options };
  const grow = async (count: number) => {
    tell(`${count} versions of the key`);
    await rotateTo(place.admin, count);
    await acceptAll(place.admin, place.workplace);
  };
  if (options.hasFlat) await measureShapes(versions, few);
  if (options.hasProbe) await measureProbes(versions, few);
  if (options.hasFlat) {
    await grow(many);
    await measureShapes(versions, many);
  }
  if (options.hasProbe) {
    await grow(probedMany);
    await measureProbes(versions, probedMany);
  }
  return figures;
}

const nameOf = (target: Target, count: number, connections: number) =>
  `${target.replace('-', '_')}_${count}_versions_${connections}_connections`;

/** What OpenBao itself needs is beside it; how many connections the socket has is nothing to it. */
const shapes: readonly (readonly [Target, number])[] = [
  ...rawTargets.map((target) => [target, 1] as const),
  ...connectionCounts.flatMap((connections) => kmsTargets.map((target) => [target, connections] as const)),
];

async function measureShapes({ figures, place, options }: Versions, count: number): Promise<void> {
  const { seconds, rounds } = options;
  await withProvider(place, async (_, pids) => {
    // Beside those that were sealed with older versions.
    await place.client.prepare(preparedSeeds);
    await warmUp(place);
    const measured = new Map<string, Costed[]>();
    for (let round = 0; round < rounds; round += 1) {
      for (const [target, connections] of shapes) {
        const name = nameOf(target, count, connections);
        const costed = await measureCosted(place, pids, { target, inFlight, connections, seconds });
        measured.set(name, [...(measured.get(name) ?? []), costed]);
      }
    }
    for (const [name, all] of measured) {
      figures[`${name}_per_second`] = median(all.map(({ perSecond }) => perSecond));
      figures[`${name}_plugin_us`] = median(all.map(({ us }) => us.plugin));
      figures[`${name}_failed`] = all.reduce((sum, { failed }) => sum + failed, 0);
    }
  });
}

/** The sum of all series of that name whose labels hold the text. */
function readSeries(metrics: string, name: string, labels: string): number {
  const lines = metrics.split('\n').filter((line) => line.startsWith(`${name}{`) && line.includes(labels));
  return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}

async function readProbes(provider: Provider) {
  const metrics = await provider.metrics();
  const read = (part: string) => readSeries(metrics, `openbao_kms_openbao_duration_seconds_${part}`, metadataRead);
  const [, lag] = /^openbao_kms_event_loop_lag_max_seconds (\S+)$/mu.exec(metrics) ?? [];
  return { count: read('count'), seconds: read('sum'), lagMs: Number(lag) * 1_000 };
}

/** A probe a second; what idles between two of them is in their cost. */
async function measureProbes({ figures, place }: Versions, count: number): Promise<void> {
  configure(place.workplace, (config) => {
    config['status'] = { probeInterval: '1s', statusMaxStaleness: '5s' };
  });
  await withProvider(place, async (provider, pids) => {
    const before = await readProbes(provider);
    const read = meterCpu(pids);
    await new Promise((resolve) => setTimeout(resolve, probeSeconds * 1_000));
    const used = read();
    const after = await readProbes(provider);
    const probes = after.count - before.count;
    figures[`probe_${count}_versions_plugin_us`] = used.plugin / probes;
    figures[`probe_${count}_versions_supervisor_us`] = used.supervisor / probes;
    figures[`probe_${count}_versions_ms`] = ((after.seconds - before.seconds) * 1_000) / probes;
    figures[`probe_${count}_versions_lag_ms`] = after.lagMs;
  });
  configure(place.workplace);
}

export function shapeTable(figures: Figures): string[] {
  const rows = shapes.map(([target, connections]) => {
    const cells = [few, many].flatMap((count) => {
      const name = nameOf(target, count, connections);
      const us = target.startsWith('raw') ? undefined : figures[`${name}_plugin_us`];
      return [shown(figures[`${name}_per_second`], 0), shown(us, 0), shown(figures[`${name}_failed`], 0)];
    });
    return [target, String(connections), ...cells];
  });
  const columns = [few, many].flatMap((count) => [`calls/s, ${count} v.`, 'plugin, µs', 'failed']);
  return table([`${inFlight} in flight`, 'connections', ...columns], rows);
}

export function probeTable(figures: Figures): string[] {
  const rows = [few, probedMany].map((count) => {
    const cell = (what: string, digits: number) => shown(figures[`probe_${count}_versions_${what}`], digits);
    return [String(count), cell('ms', 1), cell('plugin_us', 0), cell('supervisor_us', 0), cell('lag_ms', 1)];
  });
  return table(
    ['metadata probe: versions', 'answer, ms', 'plugin, µs CPU', 'supervisor', 'longest lag of the event loop, ms'],
    rows,
  );
}
