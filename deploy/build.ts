// `npm run build`: bundles both processes into dist/ together with the runtime that runs them. dist/ needs nothing else.

import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { build } from 'esbuild';

const root = new URL('..', import.meta.url).pathname;
const lib = `${root}dist/lib`;
const { version } = JSON.parse(readFileSync(`${root}package.json`, 'utf8')) as { version: string };

function git(...args: string[]): string {
  try {
    return execFileSync('git', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return '';
  }
}

const commit = git('rev-parse', '--short=12', 'HEAD');
const committedAt = git('log', '-1', '--format=%cI');
const stamp = { version, commit, buildDate: committedAt, dirty: String(git('status', '--porcelain') !== '') };

// CommonJS packages in an ES module bundle call require for Node's own modules.
const banner =
  "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);";
const common = {
  bundle: true,
  platform: 'node',
  target: 'node24',
  format: 'esm',
  outExtension: { '.js': '.mjs' },
  banner: { js: banner },
  define: { __BUILD__: JSON.stringify(stamp) },
  legalComments: 'none',
  minifySyntax: true,
  minifyWhitespace: true,
  logLevel: 'warning',
} as const;

rmSync(`${root}dist`, { recursive: true, force: true });
mkdirSync(lib, { recursive: true });
await build({
  ...common,
  entryPoints: [`${root}supervisor/main.ts`],
  outdir: lib,
  entryNames: 'supervisor',
  splitting: true,
});
await build({ ...common, entryPoints: [`${root}plugin/main.ts`], outdir: lib, entryNames: 'plugin' });

const launcher = `#!/bin/sh
# Starts the supervisor with the runtime beside it; options from outside must not reach that runtime.
here=$(dirname "$(readlink -f "$0")")
unset NODE_OPTIONS NODE_PATH NODE_EXTRA_CA_CERTS
exec "$here/lib/node" --disable-sigusr1 --max-semi-space-size=1 --max-old-space-size=64 "$here/lib/supervisor.mjs" "$@"
`;
writeFileSync(`${root}dist/bao-kms-provider`, launcher); // control: build.launcher
chmodSync(`${root}dist/bao-kms-provider`, 0o755);

const runtime = ['x64', 'arm64'].map((arch) => `${root}node_modules/node-linux-${arch}/bin/node`).find(existsSync);
const node = runtime ?? process.execPath;
try {
  linkSync(node, `${lib}/node`);
} catch {
  copyFileSync(node, `${lib}/node`);
}
process.stdout.write(`dist/bao-kms-provider ${version} (${commit || 'no commit'})\n`);
