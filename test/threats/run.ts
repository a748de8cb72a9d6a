// `npm run threats [T09 …]`: for each threat the attack must be repelled by the code as it is, and must succeed against a
// patched copy in which exactly that control is switched off. A mutation that stays green proves nothing.

import { execFile, spawn } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { endGroup } from '../support/child.ts';
import { hasKubernetes } from '../support/kubernetes-binaries.ts';
import { type MarkedEdit, withEdit } from '../support/markers.ts';
import { findBao } from '../support/openbao/process.ts';

const root = new URL('../..', import.meta.url).pathname;
const attackTimeoutMs = 120_000;
const execute = promisify(execFile);

/** A control switched off: places in the sources, and what stands there instead. */
export type Mutation = {
  readonly name: string;
  readonly edits: readonly MarkedEdit[];
  /** The attack that notices it needs a second user; without root it is left out, and says so. */
  readonly needsRoot?: true;
  /** The attack runs an API server; where there is none it is skipped, so nothing could notice. */
  readonly needsKubernetes?: true;
};

/** One attack of a threat and what switches its controls off: `attack.test.ts` with `mutations.ts`, `x.test.ts` with `x.mutations.ts`. */
export type ThreatPart = { readonly id: string; readonly attack: string; readonly mutations: string };

export type ThreatResult = {
  /** The threat, and the name of the attack where it is not the threat's only one: `T21 kms-socket`. */
  readonly id: string;
  readonly isRepelled: boolean;
  readonly mutations: readonly { readonly name: string; readonly isNoticed: boolean; readonly output: string }[];
  readonly output: string;
};

const copied = ['supervisor', 'plugin', 'shared', 'test', 'deploy', 'package.json', 'tsconfig.json'];

/** @param endsAtFirstFailure  the rest is not of interest: it would only wait for what does not come */
function runAttack(
  directory: string,
  attack: string,
  endsAtFirstFailure = false,
): Promise<{ readonly isGreen: boolean; readonly output: string }> {
  const file = join(directory, attack);
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ['--no-warnings', file], {
      cwd: directory,
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
      // What an attack that is ended leaves behind goes with its copy. Most mutants make it wait for what never comes.
      env: endsAtFirstFailure ? { ...process.env, TMPDIR: join(directory, 'tmp'), PATIENCE: '1' } : process.env,
    });
    let output = '';
    let isEnding = false;
    const end = () => {
      if (isEnding) return;
      isEnding = true;
      endGroup(child);
    };
    const collect = (chunk: Buffer) => {
      output += chunk.toString('utf8');
      // uvu's mark of a failed test, printed as soon as it has failed.
      if (endsAtFirstFailure && output.includes('✘')) end();
    };
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    const timer = setTimeout(() => {
      output += '\nnot finished in time';
      end();
    }, attackTimeoutMs);
    child.once('close', (code) => {
      clearTimeout(timer);
      // An attack that has failed does not always end the provider that it started.
      endGroup(child);
      const [, total = '0'] = /Total:\s+(\d+)/u.exec(output) ?? [];
      const [, passed = '-1'] = /Passed:\s+(\d+)/u.exec(output) ?? [];
      resolve({ isGreen: code === 0 && total !== '0' && total === passed, output });
    });
  });
}

/** A patched copy of the sources. @throws Error when an edit does not find its place */
export function createCopy({ edits }: Pick<Mutation, 'edits'>): string {
  const directory = mkdtempSync(join(tmpdir(), 'bao-kms-mutant-'));
  // The provider's user passes through it.
  chmodSync(directory, 0o755);
  mkdirSync(join(directory, 'tmp'));
  for (const entry of copied) cpSync(join(root, entry), join(directory, entry), { recursive: true });
  symlinkSync(join(root, 'node_modules'), join(directory, 'node_modules'));
  for (const edit of edits) {
    const path = join(directory, edit.file);
    writeFileSync(path, withEdit(readFileSync(path, 'utf8'), edit));
  }
  return directory;
}

/**
 * A patched copy with its distribution, whatever the attack starts: one that found nothing built would fail, and a control that nothing
 * tests would count as tested.
 *
 * @throws Error when an edit does not find its place, or the copy does not build
 */
export async function createBuiltCopy(mutation: Mutation): Promise<string> {
  const directory = createCopy(mutation);
  try {
    await execute(process.execPath, ['--no-warnings', 'deploy/build.ts'], { cwd: directory });
    return directory;
  } catch (cause) {
    rmSync(directory, { recursive: true, force: true });
    const said = cause instanceof Error ? cause.message : '';
    throw new Error(`mutation "${mutation.name}" does not build:\n${said}`, { cause });
  }
}

async function tryMutation(attack: string, mutation: Mutation) {
  const directory = await createBuiltCopy(mutation);
  try {
    const attempt = async () => {
      const { isGreen, output } = await runAttack(directory, attack, true);
      return { name: mutation.name, isNoticed: !isGreen && !output.includes('ERR_MODULE_NOT_FOUND'), output };
    };
    const first = await attempt();
    // A race that the control decides can also end well without it, on a busy machine: what nothing notices stays so the second time.
    return first.isNoticed ? first : await attempt();
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

export async function mutationsOf(part: ThreatPart): Promise<readonly Mutation[]> {
  const file = join(root, part.mutations);
  if (!existsSync(file)) return [];
  const { mutations } = (await import(file)) as { mutations: readonly Mutation[] };
  return mutations;
}

export function threatIds(): string[] {
  return readdirSync(join(root, 'test/threats'))
    .filter((name) => /^T\d\d$/u.test(name))
    .sort();
}

/** The attacks of some threats, in the order of their names. */
export function threatParts(ids: readonly string[]): ThreatPart[] {
  return ids.flatMap((id) => {
    const folder = join('test/threats', id);
    const files = readdirSync(join(root, folder)).filter((name) => name.endsWith('.test.ts'));
    return files.sort().map((file) => {
      const name = file.replace(/\.test\.ts$/u, '');
      const isOnly = name === 'attack';
      return {
        id: isOnly ? id : `${id} ${name}`,
        attack: join(folder, file),
        mutations: join(folder, isOnly ? 'mutations.ts' : `${name}.mutations.ts`),
      };
    });
  });
}

/** @param isAttackKnownGood  the attack itself ran elsewhere already */
export async function tryThreats(parts: readonly ThreatPart[], isAttackKnownGood = false): Promise<ThreatResult[]> {
  const results = new Map<string, ThreatResult>();
  const jobs: (() => Promise<void>)[] = [];
  for (const part of parts) {
    const { id, attack } = part;
    results.set(id, { id, isRepelled: true, mutations: [], output: '' });
    const update = (change: (result: ThreatResult) => ThreatResult) => {
      const before = results.get(id);
      if (before !== undefined) results.set(id, change(before));
    };
    if (!isAttackKnownGood) {
      jobs.push(async () => {
        const { isGreen, output } = await runAttack(root, attack);
        update((result) => ({ ...result, isRepelled: isGreen, output }));
      });
    }
    for (const mutation of await mutationsOf(part)) {
      // The attack says itself that it is skipped.
      if (mutation.needsKubernetes === true && !hasKubernetes()) continue;
      if (mutation.needsRoot === true && process.geteuid?.() !== 0) {
        process.stdout.write(`\nSKIPPED: ${id}: ${mutation.name} (needs root)\n`);
        continue;
      }
      jobs.push(async () => {
        const outcome = await tryMutation(attack, mutation);
        update((result) => ({ ...result, mutations: [...result.mutations, outcome] }));
      });
    }
  }
  const worker = async () => {
    for (let job = jobs.shift(); job !== undefined; job = jobs.shift()) await job();
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  return [...results.values()];
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  const wanted = process.argv.slice(2).filter((word) => !word.startsWith('-'));
  const ids = wanted.length === 0 ? threatIds() : wanted;
  const results = await tryThreats(threatParts(ids));
  const server = findBao() === undefined ? 'development' : 'development (real where an attack asks for it)';
  process.stdout.write('threat  attack    mutation\n');
  let isGood = results.length > 0;
  for (const { id, isRepelled, mutations, output } of results) {
    const isSkipped = output.includes('SKIPPED: ');
    isGood &&= isSkipped || (isRepelled && mutations.length > 0 && mutations.every(({ isNoticed }) => isNoticed));
    if (isSkipped) {
      process.stdout.write(`${id.padEnd(7)} skipped   ${/SKIPPED: (.*)/u.exec(output)?.[1] ?? ''}\n`);
      continue;
    }
    process.stdout.write(`${id.padEnd(7)} ${isRepelled ? 'repelled' : 'SUCCEEDS'}  `);
    const lines = mutations.map(({ name, isNoticed }) => `${isNoticed ? 'noticed' : 'UNNOTICED'}: ${name}`);
    process.stdout.write(`${lines.length === 0 ? 'NONE' : lines.join('\n                  ')}\n`);
    if (!isRepelled) process.stdout.write(`${output}\n`);
  }
  process.stdout.write(`server: ${server}\n`);
  if (process.argv.includes('--json')) {
    process.stdout.write(
      `${JSON.stringify(results.map(({ output: _, mutations, ...rest }) => ({ ...rest, mutations: mutations.map(({ name, isNoticed }) => ({ name, isNoticed })) })))}\n`,
    );
  }
  process.exit(isGood ? 0 : 1);
}
