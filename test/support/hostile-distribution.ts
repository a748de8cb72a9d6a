// A copy of the built distribution whose plugin can be exchanged: for a hostile one, and back for the good one.

import { chmodSync, copyFileSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { copyDistribution } from './distribution-copy.ts';
import { root } from './workplace.ts';

export type ExchangeableDistribution = {
  readonly directory: string;
  /** From the next launch on. */
  readonly turnHostile: (
    trial: string,
    paths: { readonly state: string; readonly jwt: string; readonly run: string },
  ) => Promise<void>;
  readonly turnGood: () => void;
  /** From the next start of the supervisor on its plugins run without the runtime's permission model: taken over natively. */
  readonly dropPermissionModel: () => void;
  readonly remove: () => void;
};

export function createExchangeableDistribution(): ExchangeableDistribution {
  const { directory, built } = copyDistribution('bao-kms-dist-');
  const plugin = join(directory, 'lib/plugin.mjs');
  const install = (from: string) => {
    chmodSync(from, 0o644);
    renameSync(from, plugin);
  };
  return {
    directory,
    turnHostile: async (trial, paths) => {
      await build({
        entryPoints: [join(root, 'test/support/hostile-plugin.ts')],
        outfile: `${plugin}.next`,
        bundle: true,
        platform: 'node',
        format: 'esm',
        target: 'node24',
        logLevel: 'silent',
        define: { __TRIAL__: JSON.stringify(trial), __PATHS__: JSON.stringify(paths) },
      });
      install(`${plugin}.next`);
    },
    turnGood: () => {
      copyFileSync(join(built, 'lib/plugin.mjs'), `${plugin}.next`);
      install(`${plugin}.next`);
    },
    dropPermissionModel: () => {
      const flags = ['"--permission",', '`--allow-fs-read=$' + '{bundle}`,', '"--allow-fs-read=/proc/self/status",'];
      let count = 0;
      for (const name of readdirSync(join(directory, 'lib')).filter((file) => file.endsWith('.mjs'))) {
        const path = join(directory, 'lib', name);
        const text = readFileSync(path, 'utf8');
        const changed = flags.reduce((before, flag) => before.replace(flag, () => ''), text);
        if (changed === text) continue;
        count += 1;
        writeFileSync(path, changed);
      }
      if (count !== 1) throw new Error(`the flags stand in ${count} bundles`);
    },
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}
