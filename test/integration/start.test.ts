// The newcomer's command, and the small commands of the executable.

import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { root } from '../support/workplace.ts';

const executable = join(root, 'dist/bao-kms-provider');
const run = (...args: string[]) => spawnSync(executable, args, { encoding: 'utf8', env: {} });

test('npm start -- --once acts as the API server would, exits 0, and leaves nothing behind', () => {
  const before = readdirSync(tmpdir()).filter((name) => name.startsWith('bao-kms-'));
  const output = execFileSync(process.execPath, ['--no-warnings', join(root, 'test/support/start.ts'), '--once'], {
    encoding: 'utf8',
    timeout: 60_000,
  });
  const mine = /state in (\S+)/u.exec(output)?.[1] ?? '';

  assert.match(output, /Status .* v2 ok, key_id obk2\./u);
  assert.match(output, /Decrypt .* the same 32 bytes/u);
  assert.match(output, /tampered: refused with gRPC code 3, "transit decrypt failed"/u);
  assert.not.ok(
    readdirSync(tmpdir()).some((name) => mine.endsWith(name) && !before.includes(name)),
    mine,
  );
});

test('npm start -- --real without a real OpenBao says so and exits 1', () => {
  const script = [process.execPath, '--no-warnings', join(root, 'test/support/start.ts'), '--once', '--real'] as const;
  const { status, stderr } = spawnSync(script[0], script.slice(1), { encoding: 'utf8', env: { PATH: '/nowhere' } });

  assert.is(status, 1);
  assert.match(stderr, /set BAO_BIN or put bao on the path/u);
});

test('without arguments, with help and with version: exit 0; with nonsense: exit 2 and one line', () => {
  assert.equal([run().status, run('help').status, run('--version').status], [0, 0, 0]);
  const wrong = run('server');
  assert.equal([wrong.status, wrong.stdout, wrong.stderr.split('\n').length], [2, '', 2]);
});

test('config schema prints JSON Schema 2020-12', () => {
  const schema = JSON.parse(run('config', 'schema').stdout);

  assert.is(schema.$schema, 'https://json-schema.org/draft/2020-12/schema');
  assert.is(schema.additionalProperties, false);
});

test('a missing configuration is one line that says so, exit 3', () => {
  const { status, stderr } = run('serve', '--config', '/nonexistent/config.yaml');

  assert.is(status, 3);
  assert.match(stderr, /"check":"gate\.config".*must exist and be readable/u);
});

test.run();
