// `npm run mutants [word …] [--json]`: single lines of the product changed for the worse, one at a time, in a copy of the tree. A test of
// those that are named must turn red; one that stays green could not fail. Words choose mutants by name or file.

import { spawn } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { transform } from 'esbuild';
import { endGroup } from '../support/child.ts';
import { withEdit } from '../support/markers.ts';
import { type Mutant, mutants } from './mutants.ts';

const root = new URL('../..', import.meta.url).pathname;
const copied = [
  'supervisor',
  'plugin',
  'shared',
  'test',
  'deploy',
  'docs',
  'package.json',
  'tsconfig.json',
  'README.md',
];
const testMs = 120_000;

type Outcome = Mutant & {
  /** The test that turned red; undefined: none did. */
  readonly noticedBy: string | undefined;
  /** Why it could not be tried. */
  readonly problem?: string;
};

/** @returns whether every test of the file passed */
function runTest(directory: string, test: string): Promise<boolean> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ['--no-warnings', join(directory, test)], {
      cwd: directory,
      stdio: ['ignore', 'pipe', 'ignore'],
      // What such a mutant waits for never comes.
      env: { ...process.env, PATIENCE: '1' },
      detached: true,
    });
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString('utf8');
    });
    const timer = setTimeout(() => endGroup(child), testMs);
    child.once('close', (code) => {
      clearTimeout(timer);
      // A test that has failed does not always end the processes that it started.
      endGroup(child);
      const number = (name: string) => Number(new RegExp(`${name}:\\s+(\\d+)`, 'u').exec(output)?.[1] ?? -1);
      resolve(code === 0 && number('Total') > 0 && number('Total') === number('Passed'));
    });
  });
}

async function tryMutant(directory: string, mutant: Mutant): Promise<Outcome> {
  const path = join(directory, mutant.file);
  const before = readFileSync(path, 'utf8');
  let mutated: string;
  try {
    mutated = withEdit(before, mutant);
    // What does not parse turns every test red, and shows nothing.
    await transform(mutated, { loader: 'ts', logLevel: 'silent' });
  } catch (error) {
    return { ...mutant, noticedBy: undefined, problem: error instanceof Error ? error.message : String(error) };
  }
  if (mutant.equivalent !== undefined) return { ...mutant, noticedBy: 'nobody, and nothing changes' };
  writeFileSync(path, mutated);
  try {
    for (const test of mutant.tests) {
      if (!(await runTest(directory, test))) return { ...mutant, noticedBy: test };
    }
    return { ...mutant, noticedBy: undefined };
  } finally {
    writeFileSync(path, before);
  }
}

function createCopy(): string {
  const directory = mkdtempSync(join(tmpdir(), 'bao-kms-mutants-'));
  for (const entry of copied) cpSync(join(root, entry), join(directory, entry), { recursive: true });
  symlinkSync(join(root, 'node_modules'), join(directory, 'node_modules'));
  return directory;
}

/** Each worker has a copy of its own; `tell` hears of each one that is over. */
async function inCopies<T>(jobs: readonly T[], run: (directory: string, job: T) => Promise<void>): Promise<void> {
  const queue = [...jobs];
  const worker = async () => {
    const directory = createCopy();
    try {
      for (let job = queue.shift(); job !== undefined; job = queue.shift()) await run(directory, job);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
}

const words = process.argv.slice(2);
const isJson = words.includes('--json');
const wanted = words.filter((word) => !word.startsWith('-'));
const chosen = mutants.filter(
  ({ name, file }) => wanted.length === 0 || wanted.some((word) => name.includes(word) || file.includes(word)),
);
const progress = (text: string) => process.stderr.write(`${text}\n`);

const red: string[] = [];
const tests = [...new Set(chosen.flatMap((mutant) => mutant.tests))];
progress(`${tests.length} files of tests as they are`);
await inCopies(tests, async (directory, test) => {
  if (!(await runTest(directory, test))) red.push(test);
});
const tried = new Map<Mutant, Outcome>();
const verdictOf = ({ problem, noticedBy }: Outcome) =>
  problem ?? (noticedBy === undefined ? 'UNNOTICED' : `noticed by ${noticedBy}`);
if (red.length === 0) {
  await inCopies(chosen, async (directory, mutant) => {
    const outcome = await tryMutant(directory, mutant);
    tried.set(mutant, outcome);
    progress(`${tried.size}/${chosen.length} ${mutant.file}: ${mutant.name}: ${verdictOf(outcome)}`);
  });
}
// In the order of the table, whoever was over first.
const outcomes = chosen.flatMap((mutant) => tried.get(mutant) ?? []);
const unnoticed = outcomes.filter(({ noticedBy }) => noticedBy === undefined);
if (isJson) {
  const rows = outcomes.map(({ name, file, at, noticedBy, problem }) => ({ name, file, at, noticedBy, problem }));
  process.stdout.write(`${JSON.stringify({ red: red.sort(), mutants: rows }, undefined, 2)}\n`);
} else {
  for (const test of red.sort()) process.stdout.write(`red before anything was changed: ${test}\n`);
  for (const outcome of outcomes) process.stdout.write(`${outcome.file}  ${outcome.name}\n    ${verdictOf(outcome)}\n`);
  process.stdout.write(`${outcomes.length - unnoticed.length} of ${chosen.length} mutants noticed\n`);
}
process.exitCode = red.length === 0 && chosen.length > 0 && unnoticed.length === 0 ? 0 : 1;
