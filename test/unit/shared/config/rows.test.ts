// A field of the configuration is one row. In a copy of the sources a field more is added, a path, by nothing but its row: it is known to the
// types, withheld from the plugin, in the schema, in the document and in the check of a reload. And rows that lack something do not compile.

import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

const root = new URL('../../../..', import.meta.url).pathname;
const copied = ['supervisor', 'plugin', 'shared', 'test', 'docs', 'package.json', 'tsconfig.json'];
const table = 'shared/config/fields.ts';

/** The sources with more rows at the end of the table. */
function withCopy(rows: string, act: (directory: string) => void): void {
  const directory = mkdtempSync(join(tmpdir(), 'bao-kms-rows-'));
  try {
    for (const entry of copied) cpSync(join(root, entry), join(directory, entry), { recursive: true });
    symlinkSync(join(root, 'node_modules'), join(directory, 'node_modules'));
    const before = readFileSync(join(root, table), 'utf8');
    const end = '} as const satisfies Table;\n';
    assert.is(before.split(end).length, 2, `the end of the table stands once in ${table}`);
    writeFileSync(
      join(directory, table),
      before.replace(end, () => rows + end),
    );
    act(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function run(directory: string, command: string, words: readonly string[], env = {}): string {
  const { stdout, stderr } = spawnSync(command, words, {
    cwd: directory,
    encoding: 'utf8',
    env: { ...process.env, ...env },
  });
  return stdout + stderr;
}

/** What the compiler says of these sources and of what they import. */
function compile(directory: string, include: readonly string[]): string {
  writeFileSync(join(directory, 'sources.json'), JSON.stringify({ extends: './tsconfig.json', include }));
  return run(directory, join(directory, 'node_modules/.bin/tsc'), ['-p', 'sources.json', '--pretty', 'false']);
}

const row = `
  'auth.jwt.spareFile': {
    kind: 'string',
    byDefault: '',
    only: 'jwt',
    rules: [rule.absolutePath],
    isPath: true,
    changes: 'restart',
    about: 'A file in reserve.',
  },
`;

/** What follows from the rows, asked in the copy; that it compiles shows that the types know the field. */
const probe = `
import { requireConfig } from './shared/config/config.ts';
import { withoutPaths } from './shared/config/paths.ts';
import { configSchema } from './shared/config/schema.ts';
import { checkReloadable } from './supervisor/gate/reload.ts';
import { documentWith, minimalDocument } from './test/support/config-document.ts';

const document = documentWith('auth.jwt.spareFile', '/etc/secret');
const file: string = requireConfig(document).auth.jwt.spareFile;
let refusal = '';
try {
  checkReloadable(requireConfig(minimalDocument()), requireConfig(document));
} catch (error) {
  refusal = String(error);
}
const sent = JSON.stringify(withoutPaths(document));
process.stdout.write(JSON.stringify({ file, refusal, sent, schema: configSchema() }));
`;

test('a path that is added as one row is withheld, in the schema, in the document, and waits for a restart', () => {
  withCopy(row, (directory) => {
    writeFileSync(join(directory, 'probe.ts'), probe);
    assert.is(compile(directory, ['supervisor', 'plugin', 'shared', 'probe.ts']), '');

    const { file, refusal, sent, schema } = JSON.parse(run(directory, process.execPath, ['--no-warnings', 'probe.ts']));
    assert.is(file, '/etc/secret');
    assert.match(refusal, 'auth.jwt.spareFile: cannot be changed by a reload; restart the service for that');
    assert.match(sent, '"spareFile":"/withheld"');
    assert.not.match(sent, 'secret');
    assert.equal(schema.properties.auth.properties.jwt.properties.spareFile, {
      type: 'string',
      default: '',
      description: 'A file in reserve.',
    });

    // Its other tests miss here what was not copied.
    run(directory, process.execPath, ['--no-warnings', 'test/unit/docs.test.ts'], { UPDATE_DOCS: '1' });
    assert.match(
      readFileSync(join(directory, 'docs/configuration.md'), 'utf8'),
      '| `auth.jwt.spareFile` **R** | string | empty | A file in reserve. | must be an absolute path |\n',
    );
  });
});

/** Each lacks something, or has what does not fit; and the file where the compiler says so. */
const incomplete: Readonly<Record<string, readonly [row: string, file: string]>> = {
  'auth.jwt.silent': [`kind: 'boolean', byDefault: false, changes: 'reload'`, table],
  'auth.jwt.undecided': [`kind: 'boolean', byDefault: false, about: ''`, table],
  'auth.jwt.endless': [`kind: 'duration', rules: [], changes: 'reload', about: ''`, table],
  'auth.jwt.unmarked': [`kind: 'string', rules: [rule.absolutePath], changes: 'reload', about: ''`, table],
  'auth.jwt.bareFile': [`kind: 'string', rules: [], changes: 'reload', about: ''`, table],
  'auth.jwt.settable': [
    `kind: 'string', isPath: true, override: { flag: 'log-level', variables: [] }, rules: [], changes: 'reload', about: ''`,
    table,
  ],
  'auth.jwt.bound': [`kind: 'string', rules: [], changes: 'identity', about: ''`, 'shared/config/config.ts'],
  'auth.jwt.flagless': [
    `kind: 'string', override: { flag: 'flagless', variables: [] }, rules: [], changes: 'reload', about: ''`,
    'supervisor/commands/table.ts',
  ],
};

test('a row that is incomplete, or a path that could reach the plugin, is refused by the compiler', () => {
  const rows = Object.entries(incomplete).map(([path, [text]]) => `  '${path}': { ${text} },\n`);
  withCopy(rows.join(''), (directory) => {
    const said = compile(directory, ['shared/config', 'supervisor/commands/table.ts']).split(/\n(?=\S)/u);
    const lines = readFileSync(join(directory, table), 'utf8').split('\n');
    for (const [path, [, file]] of Object.entries(incomplete)) {
      const line = lines.findIndex((text) => text.startsWith(`  '${path}'`)) + 1;
      const isTold = (text: string) =>
        file === table
          ? text.startsWith(`${file}(${line},`)
          : text.startsWith(`${file}(`) && text.includes(path.split('.').at(-1) ?? '');
      assert.ok(said.some(isTold), `${path} is not refused in ${file}:\n${said.join('\n')}`);
    }
  });
});

test.run();
