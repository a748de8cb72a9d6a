// The walls of the house: who may import whom, which packages each room may use, and what may not be written at all. Reads
// the sources; a rule nobody checks is a wish.

import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { build } from 'esbuild';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { folders } from '../run.ts';

const root = new URL('../..', import.meta.url).pathname;

type Source = {
  readonly file: string;
  readonly room: string;
  readonly text: string;
  readonly code: string;
  readonly imports: readonly string[];
};

function sourcesOf(room: string): Source[] {
  return readdirSync(join(root, room), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !name.includes('generated'))
    .map((name) => {
      const file = join(room, name);
      const text = readFileSync(join(root, file), 'utf8');
      const imports = [...text.matchAll(/(?:from|import\()\s*'([^']+)'/gu)].map(([, target]) => target ?? '');
      const code = text
        .replace(/\/\*[\s\S]*?\*\//gu, '')
        .replace(/(^|\s)\/\/.*$/gmu, '')
        .replace(/'[^'\n]*'/gu, "''");
      return { file, room, text, code, imports };
    });
}

const rooms = { shared: sourcesOf('shared'), supervisor: sourcesOf('supervisor'), plugin: sourcesOf('plugin') };
const product = Object.values(rooms).flat();

/** Files that break a rule; the assertion names them. */
function offenders(sources: readonly Source[], breaks: (source: Source) => boolean): string[] {
  return sources.filter(breaks).map(({ file }) => file);
}

function roomOf(source: Source, target: string): string | undefined {
  if (!target.startsWith('.')) return undefined;
  return relative(root, join(root, dirname(source.file), target)).split('/')[0];
}

const mayImport: Readonly<Record<string, readonly string[]>> = {
  shared: ['shared'],
  supervisor: ['supervisor', 'shared'],
  plugin: ['plugin', 'shared'],
};
const packages: Readonly<Record<string, readonly string[]>> = {
  shared: ['pino'],
  supervisor: ['execa', 'pino', 'chokidar', 'yaml'],
  plugin: ['@grpc/grpc-js', '@bufbuild/protobuf', 'undici', 'pino', 'prom-client'],
};

for (const [room, sources] of Object.entries(rooms)) {
  test(`${room} imports no other room than ${mayImport[room]?.join(' and ')}`, () => {
    const isForeign = (source: Source) =>
      source.imports.some((target) => {
        const found = roomOf(source, target);
        return found !== undefined && !mayImport[room]?.includes(found);
      });
    assert.equal(offenders(sources, isForeign), []);
  });

  test(`${room} uses only its own packages`, () => {
    const isForeign = (source: Source) =>
      source.imports.some((target) => {
        if (target.startsWith('.') || target.startsWith('node:')) return false;
        const name = target
          .split('/')
          .slice(0, target.startsWith('@') ? 2 : 1)
          .join('/');
        return !packages[room]?.includes(name);
      });
    assert.equal(offenders(sources, isForeign), []);
  });
}

/**
 * Which room may import which, within a side: an arrow that is not here is a decision. Files that stand beside the folders, like
 * key-service.ts, are rooms of their own; main.ts wires and knows everyone.
 */
const arrows: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> = {
  plugin: {
    'listeners.ts': ['telemetry'],
    tasks: ['listeners.ts', 'telemetry', 'probes', 'health', 'key-service.ts', 'keys', 'kms', 'openbao.ts'],
    'key-service.ts': ['kms', 'probes', 'health', 'keys', 'transit'],
    'openbao.ts': ['session', 'auth/methods', 'auth', 'transit', 'keys', 'openbao', 'http'],
    telemetry: ['probes', 'health', 'auth/methods', 'auth', 'keys', 'kms'],
    probes: ['health', 'transit', 'auth', 'keys'],
    health: ['keys'],
    session: ['auth/methods', 'auth', 'openbao'],
    'auth/methods': ['auth', 'openbao'],
    auth: ['openbao'],
    transit: ['keys', 'openbao'],
    openbao: ['http'],
  },
  supervisor: {
    'arguments.ts': ['commands', 'environment.ts'],
    'exit-code.ts': ['refusal.ts'],
    commands: ['gate', 'lifecycle', 'launch', 'notify', 'custody', 'system.ts'],
    gate: ['launch', 'custody', 'refusal.ts', 'system.ts'],
    lifecycle: ['launch', 'channel', 'custody', 'refusal.ts'],
    launch: ['channel', 'custody'],
  },
  shared: {
    config: ['channel', 'errors', 'registry', 'text', 'time'],
    confinement: ['channel'],
    channel: ['errors', 'text'],
    registry: ['errors', 'text'],
    text: ['errors'],
    time: ['errors'],
    log: ['time'],
  },
};

/** A folder in a room that is a room of its own. */
const innerRooms = ['auth/methods'];

/** `from to` for each pair of rooms of a side between which a file imports. */
function drawnArrows(side: keyof typeof rooms): string[] {
  const inSide = (file: string) => {
    const path = relative(side, file);
    return innerRooms.find((room) => path.startsWith(`${room}/`)) ?? path.split('/')[0] ?? '';
  };
  const drawn = rooms[side].flatMap((source) =>
    source.imports
      .filter((target) => roomOf(source, target) === side)
      .map((target) => `${inSide(source.file)} ${inSide(join(dirname(source.file), target))}`),
  );
  const between = [...new Set(drawn)].filter((arrow) => new Set(arrow.split(' ')).size === 2);
  return between.filter((arrow) => !arrow.startsWith('main.ts ')).sort();
}

for (const side of ['plugin', 'supervisor', 'shared'] as const) {
  test(`the arrows between the rooms of ${side} are those of the list`, () => {
    const listed = Object.entries(arrows[side] ?? {}).flatMap(([from, to]) => to.map((room) => `${from} ${room}`));
    assert.equal(drawnArrows(side), listed.sort());
  });

  test(`no circle between the rooms of ${side}`, () => {
    let left = drawnArrows(side).map((arrow) => arrow.split(' '));
    for (let before = -1; before !== left.length; ) {
      before = left.length;
      const withArrows = new Set(left.map(([from]) => from));
      left = left.filter(([, to]) => withArrows.has(to));
    }
    assert.equal(left, []);
  });
}

const network = ['node:http', 'node:https', 'node:http2', 'node:tls', 'node:dgram', 'node:dns'];

test('the supervisor imports nothing that parses network data', () => {
  assert.equal(
    offenders(rooms.supervisor, ({ imports }) => imports.some((target) => network.includes(target))),
    [],
  );
});

test('shared does no I/O', () => {
  const io = [...network, 'node:fs', 'node:fs/promises', 'node:net', 'node:child_process', 'node:process', 'node:os'];
  assert.equal(
    offenders(rooms.shared, ({ imports }) => imports.some((target) => io.includes(target))),
    [],
  );
});

test('the plugin meets the file system and the process in system.ts and main.ts only', () => {
  const isAllowed = ({ file }: Source) => ['plugin/system.ts', 'plugin/main.ts'].includes(file);
  const touches = ({ imports, code }: Source) =>
    imports.some((target) => ['node:fs', 'node:fs/promises', 'node:child_process'].includes(target)) ||
    /\bprocess\.(?!plugin)/u.test(code);
  assert.equal(
    offenders(
      rooms.plugin.filter((source) => !isAllowed(source)),
      touches,
    ),
    [],
  );
});

test('the plugin never starts a process', () => {
  assert.equal(
    offenders(rooms.plugin, ({ text }) => /node:(?:child_process|worker_threads|cluster)/u.test(text)),
    [],
  );
});

test('the supervisor meets files, processes and execa in custody, system.ts, child.ts and main.ts only', () => {
  const isAllowed = ({ file }: Source) =>
    file.startsWith('supervisor/custody/') ||
    ['supervisor/system.ts', 'supervisor/main.ts', 'supervisor/launch/child.ts'].includes(file);
  const touches = ({ imports, code }: Source) =>
    imports.some((target) => ['node:fs', 'node:fs/promises', 'node:child_process', 'execa'].includes(target)) ||
    /\bprocess\.(?!plugin)/u.test(code);
  assert.equal(
    offenders(
      rooms.supervisor.filter((source) => !isAllowed(source)),
      touches,
    ),
    [],
  );
});

test('clocks and randomness come in through the front', () => {
  const isDoor = ({ file }: Source) => /(?:^|\/)(?:system|main)\.ts$/u.test(file);
  const reads = ({ code }: Source) =>
    /Date\.now|new Date\(\)|Math\.random|(?<![.\w])set(?:Timeout|Interval)\(/u.test(code);
  assert.equal(
    offenders(
      product.filter((source) => !isDoor(source)),
      reads,
    ),
    [],
  );
});

test('kms knows no OpenBao and no gRPC outside its server, transit knows no gRPC', () => {
  const kms = rooms.plugin.filter(({ file }) => file.startsWith('plugin/kms/'));
  const knowsBao = ({ imports }: Source) =>
    imports.some((target) => /\/(?:transit|openbao|http|auth|keys|health|probes)\//u.test(target));
  assert.equal(offenders(kms, knowsBao), []);
  const grpc = rooms.plugin.filter(({ imports }) => imports.includes('@grpc/grpc-js')).map(({ file }) => file);
  assert.equal(grpc, ['plugin/kms/server.ts']);
});

test('only the connection to OpenBao meets undici', () => {
  const files = rooms.plugin.filter(({ imports }) => imports.includes('undici')).map(({ file }) => file);
  assert.equal(files, ['plugin/http/connection.ts']);
});

test('no TLS switch, no inspector, no shell', () => {
  const isLoose = ({ text }: Source) =>
    /rejectUnauthorized: false|NODE_TLS_REJECT|shell: true|node:inspector/u.test(text);
  assert.equal(offenders(product, isLoose), []);
});

test('no any, no non-null assertion, no default export, no re-export of everything', () => {
  const isLoose = ({ code }: Source) =>
    /: any\b|as any\b|@ts-(?:ignore|nocheck)|^export default|^export \*/mu.test(code);
  assert.equal(offenders(product, isLoose), []);
});

test('every file opens with what it is', () => {
  assert.equal(
    offenders(product, ({ text }) => !text.startsWith('// ')),
    [],
  );
});

test('the tracked visible folders are those of the house', () => {
  const tracked = execFileSync('git', ['ls-files'], { cwd: root, encoding: 'utf8' }).split('\n');
  const folders = new Set(tracked.filter((path) => path.includes('/')).map((path) => path.split('/')[0] ?? ''));
  const visible = [...folders].filter((folder) => !folder.startsWith('.')).sort();
  assert.equal(
    visible,
    ['deploy', 'docs', 'plugin', 'proto', 'shared', 'supervisor', 'test'].filter((name) => folders.has(name)),
  );
});

/** Of the supervisor's bundle; a new one runs with privilege, so it is a decision (docs/decisions/0008-packages-with-privilege.md). */
const privileged =
  '@pinojs/redact @sec-ant/readable-stream @sindresorhus/merge-streams atomic-sleep chokidar execa figures get-stream ' +
  'human-signals is-plain-obj is-stream is-unicode-supported npm-run-path on-exit-leak-free parse-ms path-key pino ' +
  'pino-std-serializers pretty-ms quick-format-unescaped readdirp safe-stable-stringify signal-exit sonic-boom ' +
  'strip-final-newline thread-stream unicorn-magic which-command yaml yoctocolors';

test('no other package runs with privilege', async () => {
  const { metafile } = await build({
    entryPoints: [join(root, 'supervisor/main.ts')],
    absWorkingDir: root,
    outdir: join(root, 'dist'),
    bundle: true,
    platform: 'node',
    format: 'esm',
    splitting: true,
    write: false,
    metafile: true,
    logLevel: 'silent',
  });
  const names = Object.keys(metafile.inputs).flatMap(
    (input) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)/u.exec(input)?.[1] ?? [],
  );
  assert.equal([...new Set(names)].sort().join(' '), privileged);
});

test('every folder with tests is one that `npm test` runs', () => {
  const all = readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' });
  const withTests = all.filter((name) => name.endsWith('.test.ts')).map((name) => name.split('/')[0] ?? '');
  assert.equal([...new Set(withTests)].sort(), [...folders].sort());
});

test('a unit test lies where the sources lie that it tests', () => {
  const misplaced = Object.entries(rooms).flatMap(([side, sources]) => {
    const places = new Set(sources.map(({ file }) => dirname(file)));
    const named = new Set(sources.map(({ file }) => file.replace(/\.ts$/u, '')));
    const tests = readdirSync(join(root, 'test/unit', side), { recursive: true, encoding: 'utf8' });
    return tests
      .filter((name) => name.endsWith('.test.ts'))
      .map((name) => join(side, name.replace(/\.test\.ts$/u, '')))
      .filter((name) => !named.has(name) && (dirname(name) === side || !places.has(dirname(name))));
  });
  assert.equal(misplaced, []);
});

test('an install runs no script of a package', () => {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
  };
  const installs = Object.values(scripts).flatMap((script) => script.match(/npm (?:ci|install|i)\b[^&|;]*/gu) ?? []);
  assert.is(installs.length, 1);
  for (const install of installs) assert.match(install, / --ignore-scripts /u);
});

test('there is no Kubernetes client among the dependencies', () => {
  const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>;
  };
  assert.equal(
    Object.keys(dependencies).filter((name) => /kubernetes|k8s/u.test(name)),
    [],
  );
});

test.run();
