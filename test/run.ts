// Runs everything: types, lint, then every test file in a process of its own, a few at a time. A file passes only when its
// runner counted every test as passed, skipped none by itself, and ended in time; what is skipped is said aloud.
// Closes with `N passed, N failed, N skipped`.

import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, relative } from 'node:path';
import { kubernetes } from './support/kubernetes-binaries.ts';
import { limitOf } from './support/patience.ts';

const root = new URL('..', import.meta.url).pathname;
/** The longest waits for the API server’s own minutes, file by file; one that needs longer hangs. */
const fileMs = 600_000;
/** Every folder with tests; the longest first: the waiting ones and the booted machine. */
export const folders = [
  'kubernetes',
  'systemd',
  'integration',
  'threats',
  'failure-modes',
  'failover',
  'mistakes',
  'explore',
  'simulation',
  'unit',
  'contract',
  'fuzz',
];

/** They sleep for minutes, by constants of the API server: one after the other, beside all the rest. */
const sleeping = ['test/kubernetes/long-outage.test.ts', 'test/kubernetes/hot-reload.test.ts'];
/** Calls at a fixed pace, or beside a flood, find out whether the machine keeps up; nothing may run beside them. */
const alone = ['test/integration/rotation.test.ts', 'test/integration/flood.test.ts'];

export type FileResult = {
  readonly file: string;
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  readonly output: string;
  readonly seconds: number;
};

type Ended = { readonly output: string; readonly isGood: boolean; readonly seconds: number };

function run(command: string, args: readonly string[], timeoutMs: number): Promise<Ended> {
  const startedAtMs = performance.now();
  return new Promise((resolve) => {
    const env = { ...process.env, FORCE_COLOR: '0', NODE_OPTIONS: '' };
    const child = spawn(command, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    let output = '';
    const collect = (chunk: Buffer) => {
      output += chunk.toString('utf8');
    };
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    const timer = setTimeout(() => {
      output += `\nnot finished within ${timeoutMs / 1000} s\n`;
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
    }, timeoutMs);
    child.once('close', (code) => {
      clearTimeout(timer);
      resolve({ output, isGood: code === 0, seconds: (performance.now() - startedAtMs) / 1000 });
    });
  });
}

/** Reads uvu's closing lines; a file whose counts are missing or unequal has failed. */
export function countsOf(file: string, ended: Ended): FileResult {
  const number = (name: string) => {
    const all = [...ended.output.matchAll(new RegExp(`^\\s*${name}:\\s+(\\d+)`, 'gmu'))];
    return all.reduce((sum, [, count]) => sum + Number(count), 0);
  };
  const total = number('Total');
  const skippedByRunner = number('Skipped');
  const announced = [...ended.output.matchAll(/^SKIPPED: /gmu)].length;
  const passed = number('Passed') - announced;
  const isComplete = ended.isGood && total > 0 && number('Passed') === total && skippedByRunner === 0 && passed >= 0;
  const failed = isComplete ? 0 : Math.max(1, total - number('Passed'));
  return {
    file,
    passed: Math.max(0, passed),
    failed,
    skipped: announced,
    output: ended.output,
    seconds: ended.seconds,
  };
}

async function runFile(file: string): Promise<FileResult> {
  return countsOf(file, await run(process.execPath, ['--no-warnings', file], limitOf(fileMs)));
}

function testFiles(folder: string): string[] {
  const directory = join(root, 'test', folder);
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => relative(root, join(directory, name)))
    .sort();
}

async function runAll(files: readonly string[], sideBySide: number): Promise<FileResult[]> {
  const results: FileResult[] = [];
  const queue = [...files];
  const worker = async () => {
    for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
      const result = await runFile(file);
      results.push(result);
      const verdict = result.failed === 0 ? 'ok  ' : 'FAIL';
      const counts = `${result.passed} passed${result.skipped > 0 ? `, ${result.skipped} skipped` : ''}`;
      process.stdout.write(`${verdict} ${file} (${counts}, ${result.seconds.toFixed(1)} s)\n`);
      if (result.failed > 0) process.stdout.write(`${result.output}\n`);
      for (const [line] of result.output.matchAll(/^SKIPPED: .*$/gmu)) process.stdout.write(`     ${line}\n`);
    }
  };
  await Promise.all(Array.from({ length: sideBySide }, worker));
  return results;
}

function sayKubernetes(): void {
  process.stdout.write('a whole kube-apiserver for the tests: found, or built now (some minutes the first time)\n');
  const binaries = kubernetes();
  process.stdout.write('missing' in binaries ? `none (needs ${binaries.missing})\n` : `${binaries.apiServer}\n`);
}

async function checkSources(): Promise<FileResult[]> {
  const bin = (name: string) => join(root, 'node_modules/.bin', name);
  const checks = [
    ['types', bin('tsc'), ['-p', '.']],
    ['lint', bin('biome'), ['check', '.']],
  ] as const;
  return Promise.all(
    checks.map(async ([name, command, args]) => {
      const ended = await run(command, args, limitOf(fileMs));
      process.stdout.write(`${ended.isGood ? 'ok  ' : 'FAIL'} ${name} (${ended.seconds.toFixed(1)} s)\n`);
      if (!ended.isGood) process.stdout.write(ended.output);
      const counts = { passed: ended.isGood ? 1 : 0, failed: ended.isGood ? 0 : 1, skipped: 0 };
      return { file: name, ...counts, output: ended.output, seconds: ended.seconds };
    }),
  );
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  const wanted = process.argv.slice(2);
  const sources = wanted.length > 0 ? [] : await checkSources();
  const files = folders
    .flatMap(testFiles)
    .filter((file) => wanted.length === 0 || wanted.some((part) => file.includes(part)));
  // Its first build takes longer than a file may.
  if (process.env['KUBERNETES'] === 'whole' && files.length > 0) sayKubernetes();
  const those = (list: readonly string[]) => files.filter((file) => list.includes(file));
  const others = files.filter((file) => ![...sleeping, ...alone].includes(file));
  // One more than there are cores: many files wait now and then.
  const beside = await Promise.all([runAll(those(sleeping), 1), runAll(others, availableParallelism() + 1)]);
  const results = [...sources, ...beside.flat(), ...(await runAll(those(alone), 1))];
  const sum = (name: 'passed' | 'failed' | 'skipped') => results.reduce((total, result) => total + result[name], 0);
  const failed = sum('failed');
  for (const result of results.filter((one) => one.failed > 0)) process.stdout.write(`failed: ${result.file}\n`);
  process.stdout.write(`${sum('passed')} passed, ${failed} failed, ${sum('skipped')} skipped\n`);
  process.exit(failed === 0 && results.length > 0 ? 0 : 1);
}
