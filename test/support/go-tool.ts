// Test programs in Go: built with the machine's Go when a test first asks for them, kept below node_modules/.cache, and built anew when
// their sources are newer. A machine that cannot have them is told what is missing; a program of ours that does not build is an error.

import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { limitOf } from './patience.ts';
import { root } from './workplace.ts';

export type GoTool = {
  /** The folder of the module. */
  readonly cwd: string;
  /** Of the program's package in it, `.` for the module itself. */
  readonly packagePath: string;
  readonly name: string;
  /** Where it is kept between runs. */
  readonly directory: string;
  readonly flags: readonly string[];
  /** Of the first build; later ones take what Go keeps. */
  readonly calmMs: number;
};

/** Where Go tools are kept. */
export const goCache = join(root, 'node_modules/.cache');

export const pathOf = ({ directory, name }: GoTool): string => join(directory, name);

/** Newer than what it is made of. */
function isBuilt(tool: GoTool): boolean {
  const modifiedMs = (path: string) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  const sources = readdirSync(join(tool.cwd, tool.packagePath)).filter((name) => name.endsWith('.go'));
  const from = ['go.mod', 'go.sum', ...sources.map((name) => join(tool.packagePath, name))];
  return modifiedMs(pathOf(tool)) > Math.max(...from.map((path) => modifiedMs(join(tool.cwd, path))));
}

/**
 * Builds a tool unless it is there already. Shared by the files that run side by side: the first one builds, the others wait for it.
 *
 * @returns what is missing for it, or undefined
 * @throws Error when it does not build
 */
export function buildGoTool(tool: GoTool): 'Go' | 'modules' | undefined {
  if (isBuilt(tool)) return undefined;
  if (spawnSync('go', ['version']).status !== 0) return 'Go';
  const { cwd, packagePath, name, directory, flags, calmMs } = tool;
  const from = packagePath === '.' ? '.' : `./${packagePath}`;
  // Fetches the modules of every package that is needed, and compiles none.
  const timeout = limitOf(calmMs);
  const listed = spawnSync('go', ['list', '-deps', '-mod=readonly', from], { cwd, timeout, stdio: 'ignore' });
  if (listed.status !== 0) return 'modules';
  mkdirSync(directory, { recursive: true });
  const command = ['go', 'build', '-trimpath', '-mod=readonly', ...flags, '-o', pathOf(tool), from];
  const built = spawnSync('flock', [`${directory}.lock`, ...command], { cwd, timeout, encoding: 'utf8' });
  if (built.status !== 0) throw new Error(`${name} does not build:\n${built.stderr}`);
  return undefined;
}
