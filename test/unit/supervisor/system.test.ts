// Helpers: what they get of us, and what is taken of them.

import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { runHelper } from '../../../supervisor/system.ts';

const run = (script: string, descriptor?: number, environment?: Record<string, string>) =>
  runHelper('/bin/sh', ['-c', script], descriptor, environment);

test('a helper gets the environment that is named, and nothing of ours', async () => {
  process.env['BAO_KMS_CANARY'] = 'canary';
  const { exitCode, output } = await run('env; pwd', undefined, { ONLY: 'this' });
  delete process.env['BAO_KMS_CANARY'];
  assert.is(exitCode, 0);
  assert.match(output, /^ONLY=this$/mu);
  assert.match(output, /^\/$/mu);
  assert.not.match(output, /canary|^HOME=/mu);
});

test('an exit code is an answer, not an error, and what is said on standard error is not looked at', async () => {
  assert.equal(await run('echo out; echo err >&2; exit 3'), { exitCode: 3, output: 'out' });
});

test('a helper that is missing, or that says too much, is no error either', async () => {
  assert.is((await runHelper('/nowhere/helper', [])).exitCode, undefined);
  const { output } = await run('yes canary | head -c 100000');
  assert.ok(output.length <= 64 * 1024, `${output.length}`);
});

test('a descriptor that is handed over is number 3, and no other one is', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'bao-kms-helper-'));
  const descriptor = openSync(join(directory, 'lock'), 'w');
  try {
    assert.is((await run('readlink /proc/self/fd/3', descriptor)).output, join(directory, 'lock'));
    assert.is((await run('test -e /proc/self/fd/3')).exitCode, 1);
  } finally {
    closeSync(descriptor);
    rmSync(directory, { recursive: true });
  }
});

test.run();
