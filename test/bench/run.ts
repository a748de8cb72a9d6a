// `npm run bench`: what we promise in numbers, measured side by side in one run: calls through the socket beside the same work asked of
// OpenBao directly, as ratios; CPU time and memory of both processes; launches; what a replacement, a rotation and a crash cost.
// Uses a real OpenBao when one is found, else the development server, and says which. The long parts have flags (options.ts).

import { cpus, loadavg } from 'node:os';
import { callTable, figuresOfCalls, measureCalls, ratioTable } from './calls.ts';
import { coldStartTable, measureColdStart } from './cold-start.ts';
import { disturbanceTable, measureDisturbances } from './disturbances.ts';
import { launchLines, measureLaunches } from './launches.ts';
import { curveTable, measureCurve, measureFlood, measureIdle, memoryTable } from './memory.ts';
import { readOptions } from './options.ts';
import { watchOthers } from './others.ts';
import { openPlace, type Place, withProvider } from './place.ts';
import { targetTable } from './table.ts';
import { type Figures, targets, verdictOf } from './targets.ts';
import { measureVersions, probeTable, shapeTable } from './versions.ts';

const options = readOptions(process.argv.slice(2));
const startedAtMs = performance.now();
/** Of the minute before the run. */
const loadBefore = loadavg()[0] ?? 0;
/** A run beside others that take more than this share of the cores is about them, too. */
const quietShare = 0.03;

/** Standard error, so that the report can be kept. */
function tell(what: string): void {
  const seconds = ((performance.now() - startedAtMs) / 1_000).toFixed(0).padStart(4);
  process.stderr.write(`${seconds} s  ${what}\n`);
}

const figures: Record<string, number> = {};
const take = (found: Figures) => void Object.assign(figures, found);

async function measureUsual(place: Place): Promise<void> {
  tell('launches');
  take(await measureLaunches(place));
  await withProvider(place, async (provider, pids) => {
    tell('idle memory');
    take(await measureIdle(pids));
    tell('calls');
    const others = watchOthers();
    take(figuresOfCalls(await measureCalls(place, pids, options)));
    take({ calls_others_share: others() });
    tell('a flood of Decrypts');
    take(await measureFlood(place, pids));
    tell('disturbances');
    take(await measureDisturbances(place, provider));
  });
}

async function measureLong(place: Place): Promise<void> {
  if (options.hasMemory) {
    tell('a million Decrypts');
    take(await withProvider(place, (_, pids) => measureCurve(place, pids, tell)));
  }
  if (options.hasColdStart) take(await measureColdStart(place, tell));
  take(await measureVersions(place, options, tell));
}

function othersLine(when: string, name: string): string[] {
  const others = figures[`${name}_others_share`];
  if (others === undefined) return [];
  return [
    `${others > quietShare ? 'A BUSY MACHINE: ' : ''}others took ${(others * 100).toFixed(1)} % of the cores ${when}`,
  ];
}

function machineLines({ bao, client, missing }: Place): string[] {
  const server = bao.isReal ? `real OpenBao ${bao.version}` : 'development server (not the target of the promises)';
  const shared = [othersLine('over the whole run', 'run'), othersLine('while the calls were measured', 'calls')].flat();
  const noGo = `NO GO CLIENT (needs ${missing}): measured with ${client.kind}, whose figures are lower; no promise is about them`;
  return [
    ...(missing === undefined ? [] : [noGo]),
    `server: ${server}; client: ${client.kind}; ${cpus().length} × ${cpus()[0]?.model ?? '?'}; Node ${process.version}`,
    `load of the minute before: ${loadBefore.toFixed(2)}; ${options.rounds} rounds of ${options.seconds} s a target, medians`,
    ...shared,
  ];
}

function report(place: Place): string {
  const usual = [
    ratioTable(figures),
    callTable(figures),
    launchLines(figures),
    memoryTable(figures),
    disturbanceTable(figures),
  ];
  const sections = [
    machineLines(place),
    ...(options.isOnlyLong ? [] : usual),
    ...(options.hasMemory ? [curveTable(figures)] : []),
    ...(options.hasColdStart ? [coldStartTable(figures)] : []),
    ...(options.hasFlat ? [shapeTable(figures)] : []),
    ...(options.hasProbe ? [probeTable(figures)] : []),
    [...place.failures].map(([text, count]) => `${count} × ${text}`),
    ...(options.isOnlyLong ? [] : [targetTable(figures)]),
  ];
  return sections
    .filter((lines) => lines.length > 0)
    .map((lines) => `${lines.join('\n')}\n`)
    .join('\n');
}

function reportJson(place: Place): string {
  const verdicts = targets.map((target) => ({
    ...target,
    measured: figures[target.figure],
    isMustMet: verdictOf(target, target.must, figures) === 'met',
    isGoalMet: verdictOf(target, target.goal, figures) === 'met',
  }));
  const machine = machineLines(place);
  const failures = Object.fromEntries(place.failures);
  return `${JSON.stringify({ machine, figures, failures, targets: verdicts }, null, 2)}\n`;
}

const place = await openPlace(options.isOld);
try {
  for (const line of machineLines(place)) tell(line);
  const others = watchOthers();
  if (!options.isOnlyLong) await measureUsual(place);
  await measureLong(place);
  take({ run_others_share: others() });
  process.stdout.write(options.isJson ? reportJson(place) : report(place));
} finally {
  await place.close();
}
process.exit(0);
