// A distribution that kills one of its processes at one step, for tests of what a crash leaves behind. The step is a place that
// a marker in the sources names; nothing of this is in the product but the marker.

import { chmodSync, cpSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { copyDistribution } from './distribution-copy.ts';
import { type Place, withStatement } from './markers.ts';
import { root } from './workplace.ts';

export type CrashStep = Place & {
  readonly side: 'before' | 'after';
  /** Only if this expression holds there. */
  readonly when?: string;
};

export type CrashingDistribution = {
  readonly directory: string;
  readonly heal: () => void;
  readonly remove: () => void;
};

const banner =
  "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);";

/** @throws Error when the marker of the step does not stand there exactly once */
export async function createCrashingDistribution(step: CrashStep): Promise<CrashingDistribution> {
  const { directory, built } = copyDistribution('bao-kms-crash-');
  const side = step.file.startsWith('plugin/') ? 'plugin' : 'supervisor';
  const bundle = join(directory, 'lib', `${side}.mjs`);
  await build({
    entryPoints: [join(root, side, 'main.ts')],
    outfile: bundle,
    allowOverwrite: true,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node24',
    logLevel: 'silent',
    banner: { js: banner },
    define: { __BUILD__: JSON.stringify({ version: '0.0.0-crash', commit: '', buildDate: '', dirty: '' }) },
    plugins: [
      {
        name: 'crash',
        setup: ({ onLoad }) => {
          onLoad({ filter: new RegExp(`${step.file.replaceAll('.', '\\.')}$`) }, ({ path }) => ({
            contents: withCrash(readFileSync(path, 'utf8'), step),
            loader: 'ts',
          }));
        },
      },
    ],
  });
  chmodSync(bundle, 0o644);
  const heal = () => {
    rmSync(bundle);
    cpSync(join(built, 'lib', `${side}.mjs`), bundle);
    chmodSync(bundle, 0o644);
  };
  return { directory, heal, remove: () => rmSync(directory, { recursive: true, force: true }) };
}

function withCrash(source: string, step: CrashStep): string {
  const crash = `if (${step.when ?? 'true'}) process.kill(process.pid, 'SIGKILL');`;
  return withStatement(source, step, step.side, crash);
}
