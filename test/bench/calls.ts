// Calls through the socket beside the same work asked of OpenBao directly, in turn, several times.

import { type Measured, noteErrors, type Plan, type Target } from './load.ts';
import { meterCpu, type Pair, type Pids } from './meter.ts';
import type { Options } from './options.ts';
import type { Place } from './place.ts';
import { median } from './statistics.ts';
import { shown, table } from './table.ts';
import type { Figures } from './targets.ts';

const inFlights = [1, 16, 64] as const;
/** More than are in flight at a time: the provider answers equal Decrypts that meet with one call. */
export const preparedSeeds = 256;
const warmUpSeconds = 1;
/** Each beside what it is compared with. */
const order: readonly Target[] = ['raw-decrypt', 'decrypt', 'raw-encrypt', 'encrypt', 'status'];
const rawOf: Partial<Record<Target, Target>> = { decrypt: 'raw-decrypt', encrypt: 'raw-encrypt' };
const titles: Readonly<Record<Target, string>> = {
  'raw-decrypt': 'raw decrypt',
  decrypt: 'Decrypt',
  'raw-encrypt': 'raw encrypt',
  encrypt: 'Encrypt',
  status: 'Status',
};

/** One measurement with what it cost, microseconds of CPU a call. */
export type Costed = Measured & { readonly us: Pair };

/** Measures one target with its CPU time. */
export async function measureCosted({ client, failures }: Place, pids: Pids, plan: Plan): Promise<Costed> {
  const { begun, measured } = client.measure({ warmUp: 2 * plan.inFlight + 50, ...plan });
  await begun;
  const read = meterCpu(pids);
  const result = await measured;
  const { supervisor, plugin } = read();
  const { served, errors } = result;
  noteErrors(failures, errors);
  return { ...result, us: { supervisor: supervisor / served, plugin: plugin / served } };
}

/** Lets the runtime compile what is hot, so that the first round is one like the others. */
export async function warmUp({ client }: Place): Promise<void> {
  for (const target of ['decrypt', 'encrypt', 'status'] as const)
    await client.measure({ target, inFlight: 16, seconds: warmUpSeconds }).measured;
}

type Key = `${Target} ${number}`;
export type Rounds = ReadonlyMap<Key, readonly Costed[]>;

/** Every target at every number in flight, round after round, so that a slow minute is everybody's. */
export async function measureCalls(
  place: Place,
  pids: Pids,
  { rounds, seconds }: Pick<Options, 'rounds' | 'seconds'>,
): Promise<Rounds> {
  await place.client.prepare(preparedSeeds);
  await warmUp(place);
  const found = new Map<Key, Costed[]>();
  for (let round = 0; round < rounds; round += 1) {
    for (const inFlight of inFlights) {
      for (const target of order) {
        const key: Key = `${target} ${inFlight}`;
        const costed = await measureCosted(place, pids, { target, inFlight, seconds });
        found.set(key, [...(found.get(key) ?? []), costed]);
      }
    }
  }
  return found;
}

/** Medians over the rounds; a ratio is made in each round before. */
export function figuresOfCalls(rounds: Rounds): Figures {
  const figures: Record<string, number> = {};
  for (const [key, measured] of rounds) {
    const [target, inFlight] = key.split(' ') as [Target, string];
    const name = `${target.replace('-', '_')}_${inFlight}`;
    const of = (read: (one: Costed, round: number) => number) => median(measured.map(read));
    figures[`${name}_per_second`] = of(({ perSecond }) => perSecond);
    figures[`${name}_p50_ms`] = of(({ p50Ms }) => p50Ms);
    figures[`${name}_p99_ms`] = of(({ p99Ms }) => p99Ms);
    figures[`${name}_failed`] = measured.reduce((sum, { failed }) => sum + failed, 0);
    if (target.startsWith('raw')) continue;
    figures[`${name}_plugin_us`] = of(({ us }) => us.plugin);
    figures[`${name}_supervisor_us`] = of(({ us }) => us.supervisor);
    const raw = rounds.get(`${rawOf[target] ?? target} ${Number(inFlight)}`);
    if (rawOf[target] === undefined || raw === undefined) continue;
    const beside = (round: number) => raw[round] ?? { perSecond: Number.NaN, p50Ms: Number.NaN };
    figures[`${name}_of_raw`] = of(({ perSecond }, round) => perSecond / beside(round).perSecond);
    figures[`${name}_p50_above_raw_ms`] = of(({ p50Ms }, round) => p50Ms - beside(round).p50Ms);
  }
  return figures;
}

const rows = (targets: readonly Target[], cells: (name: string) => readonly string[]) =>
  inFlights.flatMap((inFlight) =>
    targets.map((target) => [titles[target], String(inFlight), ...cells(`${target.replace('-', '_')}_${inFlight}`)]),
  );

/** What can be compared between machines. */
export function ratioTable(figures: Figures): string[] {
  return table(
    ['', 'in flight', 'of raw', 'p50 above raw, ms', 'plugin, µs CPU a call', 'supervisor'],
    rows(['decrypt', 'encrypt', 'status'], (name) => [
      shown(figures[`${name}_of_raw`], 2),
      shown(figures[`${name}_p50_above_raw_ms`], 2),
      shown(figures[`${name}_plugin_us`], 0),
      shown(figures[`${name}_supervisor_us`], 1),
    ]),
  );
}

/** What is true of this machine in these minutes. */
export function callTable(figures: Figures): string[] {
  return table(
    ['', 'in flight', 'calls/s', 'p50 ms', 'p99 ms', 'failed'],
    rows(order, (name) => [
      shown(figures[`${name}_per_second`], 0),
      shown(figures[`${name}_p50_ms`], 3),
      shown(figures[`${name}_p99_ms`], 3),
      shown(figures[`${name}_failed`], 0),
    ]),
  );
}
