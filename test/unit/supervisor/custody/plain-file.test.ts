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

test('a pipe is read to its end, although no more than 64 KiB of it come at once', () =>
  withDirectory((directory) => {
    const source = new URL('../../../../supervisor/custody/plain-file.ts', import.meta.url).href;
    const path = join(directory, 'script.mjs');
    writeFileSync(
      path,
      `import { readPlainFile } from ${JSON.stringify(source)};
      process.stdout.write(String(readPlainFile('/dev/stdin', 'config', 300_000).length));`,
    );
    const shell = `head -c 200000 /dev/zero | "${process.execPath}" --no-warnings "${path}"`;
    assert.is(execFileSync('/bin/sh', ['-c', shell], { encoding: 'utf8' }), '200000');
  }));

test('what is missing or no file is refused with its field', () =>
  withDirectory((directory) => {
    for (const path of [join(directory, 'none'), directory]) {
      const { facts } = throwsClass(() => readPlainFile(path, 'config', 5), 'file_unsafe');
      assert.equal([facts['field'], facts['reason']], ['config', 'file_unreadable']);
    }
  }));

test.run();
