// A file that is only judged: read up to its bound, whoever owns it.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readPlainFile } from '../../../../supervisor/custody/plain-file.ts';
import { throwsClass } from '../../../support/throws.ts';

function withDirectory(run: (directory: string) => void): void {
  const directory = mkdtempSync(join(tmpdir(), 'bao-kms-plain-'));
  try {
    run(directory);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

test('a file of its bound is read whole, one byte more is refused, and an empty one is empty', () =>
  withDirectory((directory) => {
    const path = join(directory, 'file');
    for (const text of ['', 'x', '12345']) {
      writeFileSync(path, text);
      assert.is(readPlainFile(path, 'config', 5).toString(), text);
    }
    writeFileSync(path, '123456');
    const { facts } = throwsClass(() => readPlainFile(path, 'config', 5), 'file_too_large');
    assert.equal([facts['field'], facts['reason'], facts['maxBytes']], ['config', 'file_too_large', 5]);
  }));

test('what comes in pieces is read to its end', () =>
  withDirectory((directory) => {
    const script = `import { readPlainFile } from ${JSON.stringify(new URL('../../../../supervisor/custody/plain-file.ts', import.meta.url).href)};
      process.stdout.write(String(readPlainFile('/dev/stdin', 'config', 100)));`;
    const path = join(directory, 'script.mjs');
    writeFileSync(path, script);
    const shell = `(printf one; printf two; printf three) | "${process.execPath}" --no-warnings "${path}"`;
    assert.is(execFileSync('/bin/sh', ['-c', shell], { encoding: 'utf8' }), 'onetwothree');
  }));

test('what is missing or no file is refused with its field', () =>
  withDirectory((directory) => {
    for (const path of [join(directory, 'none'), directory]) {
      const { facts } = throwsClass(() => readPlainFile(path, 'config', 5), 'file_unsafe');
      assert.equal([facts['field'], facts['reason']], ['config', 'file_unreadable']);
    }
  }));

test.run();
