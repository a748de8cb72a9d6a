// Runs the exploration of credentials on trial, and the same with rules of the product switched off one at a time.

import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { createCopy, type Mutation } from '../threats/run.ts';
import { exploreTrials, type Sentence, sentences, type TrialBounds, type TrialOutcome } from './trials.ts';

const both = ['openbao_ca', 'login'] as const;

/** Three generations of each name, the shortest and the longest delays, tokens that end, a credential that is early. */
export const trialBounds: readonly TrialBounds[] = [
  { names: ['login'], generations: 3, changes: 1, tokenEnds: 1, random: 0.5, earlyMs: 0 },
  { names: ['login'], generations: 2, changes: 1, tokenEnds: 1, random: 0.5, earlyMs: 45_000 },
  { names: ['openbao_ca'], generations: 3, changes: 1, tokenEnds: 0, random: 0.5, earlyMs: 0 },
  { names: both, generations: 3, changes: 0, tokenEnds: 0, random: 0.999, earlyMs: 0 },
  { names: both, generations: 2, changes: 1, tokenEnds: 0, random: 0, earlyMs: 0 },
];
/** `npm run explore` alone: some minutes. */
export const largeTrialBounds: readonly TrialBounds[] = [
  { names: ['login'], generations: 3, changes: 2, tokenEnds: 1, random: 0, earlyMs: 0 },
  { names: ['openbao_ca'], generations: 3, changes: 2, tokenEnds: 1, random: 0, earlyMs: 0 },
  { names: both, generations: 2, changes: 2, tokenEnds: 0, random: 0, earlyMs: 0 },
  { names: both, generations: 3, changes: 1, tokenEnds: 0, random: 0.999, earlyMs: 0 },
  { names: both, generations: 2, changes: 1, tokenEnds: 1, random: 0, earlyMs: 45_000 },
];
/** Enough for every planted mistake. */
const smallTrialBounds: readonly TrialBounds[] = [
  { names: ['login'], generations: 2, changes: 1, tokenEnds: 0, random: 0.5, earlyMs: 0 },
  { names: both, generations: 2, changes: 0, tokenEnds: 0, random: 0.5, earlyMs: 0 },
  { names: ['openbao_ca'], generations: 3, changes: 1, tokenEnds: 1, random: 0.5, earlyMs: 0 },
];

export type PlantedTrial = Mutation & { readonly breaks: Sentence };
const at = (what: string) => ({ file: 'plugin/session/trials.ts', at: `control: trials.${what}` });

export const plantedTrials: readonly PlantedTrial[] = [
  {
    name: 'a candidate that was refused is dropped',
    breaks: 'taken',
    edits: [{ ...at('try-again'), find: 'now.nowMs + delayMs', replace: 'Number.POSITIVE_INFINITY' }],
  },
  {
    name: 'trials become ever rarer',
    breaks: 'taken',
    edits: [
      { ...at('max-retry'), find: '50_000', replace: '500_000' },
      { ...at('doubling'), find: '60_000', replace: '600_000' },
    ],
  },
  {
    name: 'what is refused is adopted',
    breaks: 'proven',
    edits: [{ ...at('good'), find: "outcome.kind === 'good'", replace: 'true' }],
  },
  {
    name: 'a proof that comes late takes the place of a newer generation',
    breaks: 'taken',
    edits: [{ ...at('newer'), find: 'isNewer', replace: 'generation > 0' }],
  },
  {
    name: 'a refusal is said once and never again',
    breaks: 'told',
    edits: [
      {
        ...at('repeat'),
        find: '(nextTryMs === undefined || now.nowMs - told.atMs < pace.repeatMs)',
        replace: 'told.atMs <= now.nowMs',
      },
    ],
  },
  {
    name: 'each refusal is said',
    breaks: 'told',
    edits: [{ ...at('tell-once'), replace: '' }],
  },
  {
    name: 'trials of one name follow each other at once',
    breaks: 'spaced',
    edits: [{ ...at('spacing'), find: 'Math.max(atMs, lastTrialAtMs + pace.spacingMs)', replace: 'atMs' }],
  },
];

export function describeTrials(limits: TrialBounds, outcome: TrialOutcome): string {
  const { names, generations, changes, tokenEnds, random, earlyMs } = limits;
  const what = `${names.join(' and ')}, ${generations} generations, ${changes} changes of mind, ${tokenEnds} ended tokens`;
  return `${what}, random ${random}, early by ${earlyMs / 1000} s: ${outcome.states} states`;
}

export type PlantedTrialResult = { readonly name: string; readonly wanted: string; readonly found: string | undefined };

function tryPlantedTrial(mutation: PlantedTrial): Promise<PlantedTrialResult> {
  const directory = createCopy(mutation);
  const wanted = sentences[mutation.breaks];
  return new Promise((resolve) => {
    const file = join(directory, 'test/explore/trials-run.ts');
    const child = spawn(process.execPath, ['--no-warnings', file, '--small'], { stdio: ['ignore', 'pipe', 'ignore'] });
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

export async function tryAllPlantedTrials(): Promise<PlantedTrialResult[]> {
  const queue = [...plantedTrials];
  const results: PlantedTrialResult[] = [];
  const worker = async () => {
    for (let one = queue.shift(); one !== undefined; one = queue.shift()) results.push(await tryPlantedTrial(one));
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  return results;
}

/** Prints each exploration; the first violation ends it. @returns whether every sentence held */
export function runTrials(all: readonly TrialBounds[]): boolean {
  for (const limits of all) {
    const outcome = exploreTrials(limits, (states) => process.stderr.write(`  ${states} states\r`));
    process.stdout.write(`${describeTrials(limits, outcome)}\n`);
    if (outcome.violation === undefined) continue;
    const { sentence, path } = outcome.violation;
    process.stdout.write(`VIOLATED: ${sentence}\n${path.map((line) => `  ${line}\n`).join('')}`);
    return false;
  }
  return true;
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  process.exit(runTrials(process.argv.includes('--small') ? smallTrialBounds : trialBounds) ? 0 : 1);
}
