// `npm run explore`: every state within bounds, then the same with guards of the product switched off one at a time. Prints
// states and time; ends with 1 when a sentence does not hold, or when a planted mistake breaks none.

import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { createCopy } from '../threats/run.ts';
import { type Bounds, explore, type Outcome } from './explore.ts';
import { type Planted, planted } from './mutations.ts';
import { sentences } from './node.ts';
import { sentences as trialSentences } from './trials.ts';
import { largeTrialBounds, runTrials, trialBounds, tryAllPlantedTrials } from './trials-run.ts';

/** One axis at a time as far as it goes; all three nodes wherever that ends in a minute. */
export const bounds: readonly Bounds[] = [
  { nodes: 1, rotations: 2, changes: 2, faults: 2 },
  { nodes: 2, rotations: 2, changes: 1, faults: 0 },
  { nodes: 3, rotations: 1, changes: 1, faults: 1 },
  { nodes: 3, rotations: 2, changes: 0, faults: 1 },
];
/** Enough for every planted mistake. */
const smallBounds: readonly Bounds[] = [
  { nodes: 1, rotations: 2, changes: 0, faults: 1 },
  { nodes: 1, rotations: 1, changes: 1, faults: 0 },
  { nodes: 2, rotations: 2, changes: 0, faults: 0 },
];

export type PlantedResult = { readonly name: string; readonly wanted: string; readonly found: string | undefined };

/** Explores with small bounds in a patched copy; the sentence that broke first, if any. */
function tryPlanted(mutation: Planted): Promise<PlantedResult> {
  const directory = createCopy(mutation);
  const wanted = sentences[mutation.breaks];
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ['--no-warnings', join(directory, 'test/explore/run.ts'), '--small'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString('utf8');
    });
    child.once('close', () => {
      rmSync(directory, { recursive: true, force: true });
      resolve({ name: mutation.name, wanted, found: /^VIOLATED: (.*)$/mu.exec(output)?.[1] });
    });
  });
}

export async function tryAllPlanted(): Promise<PlantedResult[]> {
  const queue = [...planted];
  const results: PlantedResult[] = [];
  const worker = async () => {
    for (let one = queue.shift(); one !== undefined; one = queue.shift()) results.push(await tryPlanted(one));
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  return results;
}

export function describeOutcome(limits: Bounds, outcome: Outcome): string {
  const { nodes, rotations, changes, faults } = limits;
  const what = `${nodes} nodes, ${rotations} rotations, ${changes} changes of minimums, ${faults} faults`;
  const numbers = `${outcome.states} states, ${outcome.nodeStates} of one node, ${(outcome.milliseconds / 1000).toFixed(1)} s`;
  return `${what}: ${numbers}`;
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  const isSmall = process.argv.includes('--small');
  let isGood = true;
  for (const limits of isSmall ? smallBounds : bounds) {
    const outcome = explore(limits, (states) => process.stderr.write(`  ${states} states\r`));
    process.stdout.write(`${describeOutcome(limits, outcome)}\n`);
    if (outcome.violation === undefined) continue;
    isGood = false;
    process.stdout.write(
      `VIOLATED: ${outcome.violation.sentence}\n${outcome.violation.path.map((line) => `  ${line}\n`).join('')}`,
    );
    break;
  }
  if (!isSmall) {
    isGood &&= runTrials([...trialBounds, ...largeTrialBounds]);
    for (const sentence of Object.values({ ...sentences, ...trialSentences })) {
      process.stdout.write(`${isGood ? 'holds' : 'not shown'}: ${sentence}\n`);
    }
    for (const { name, wanted, found } of [...(await tryAllPlanted()), ...(await tryAllPlantedTrials())]) {
      isGood &&= found === wanted;
      process.stdout.write(`${found === wanted ? 'found' : 'NOT FOUND'}: ${name}\n  breaks: ${found ?? 'nothing'}\n`);
    }
  }
  process.exit(isGood ? 0 : 1);
}
