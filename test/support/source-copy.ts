// A copy of the sources in which a test adds a row or a file, and asks the compiler.

import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';

const root = new URL('../..', import.meta.url).pathname;
const sources = ['plugin', 'shared', 'supervisor'];

export type SourceCopy = {
  readonly directory: string;
  readonly write: (file: string, text: string) => void;
  readonly read: (file: string) => string;
  /** Puts other text in the place of one that must stand there once. */
  readonly replaceIn: (file: string, before: string, after: string) => void;
  /** The files in which the compiler finds an error, and what it says. */
  readonly compile: () => { readonly files: readonly string[]; readonly output: string };
  /** What a script of the copy writes, to standard error as well. */
  readonly run: (script: string, ...words: readonly string[]) => string;
  readonly remove: () => void;
};

export function copySources(): SourceCopy {
  const directory = mkdtempSync(join(tmpdir(), 'bao-kms-sources-'));
  for (const entry of [...sources, 'package.json'])
    cpSync(join(root, entry), join(directory, entry), { recursive: true });
  symlinkSync(join(root, 'node_modules'), join(directory, 'node_modules'));
  const { compilerOptions } = JSON.parse(readFileSync(join(root, 'tsconfig.json'), 'utf8')) as Record<string, unknown>;
  const write = (file: string, text: string) => writeFileSync(join(directory, file), text);
  const read = (file: string) => readFileSync(join(directory, file), 'utf8');
  write('tsconfig.json', JSON.stringify({ compilerOptions, include: [...sources, '*.ts'] }));
  return {
    directory,
    write,
    read,
    replaceIn: (file, before, after) => {
      const text = read(file);
      assert.is(text.split(before).length, 2, `${JSON.stringify(before)} stands once in ${file}`);
      write(
        file,
        text.replace(before, () => after),
      );
    },
    compile: () => {
      const { stdout } = spawnSync(join(root, 'node_modules/.bin/tsc'), ['-p', '.', '--pretty', 'false'], {
        cwd: directory,
        encoding: 'utf8',
      });
      const files = [...stdout.matchAll(/^([^\s(]+)\(\d/gmu)].map(([, file = '']) => file);
      return { files: [...new Set(files)], output: stdout };
    },
    run: (script, ...words) => {
      const { stdout, stderr } = spawnSync(process.execPath, ['--no-warnings', script, ...words], {
        cwd: directory,
        encoding: 'utf8',
      });
      return stdout + stderr;
    },
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}
