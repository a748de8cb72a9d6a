// What a trusted file tells of itself, and which of its groups matters. The attacks are in test/threats/T04.

import { chmodSync, chownSync, mkdtempSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type FileRules, type Reader, readTrustedFile } from '../../../../supervisor/custody/trusted-file.ts';
import { skipWithout } from '../../../support/skip.ts';
import { throwsClass } from '../../../support/throws.ts';

const isRoot = process.geteuid?.() === 0;
const own: Reader = { uid: process.geteuid?.() ?? -1, gids: [process.getegid?.() ?? -1] };
const rules: FileRules = { field: 'auth.jwt.jwtFile', forbiddenBits: 0o037, maxBytes: 64 };

function withFile(run: (path: string) => void): void {
  const directory = mkdtempSync(join(tmpdir(), 'bao-kms-trusted-'));
  chmodSync(directory, 0o755);
  const path = join(directory, 'file');
  writeFileSync(path, 'text', { mode: 0o600 });
  try {
    run(path);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

test('a file tells when it was written, in whole milliseconds, and nothing before the epoch', () =>
  withFile((path) => {
    utimesSync(path, 1_750_000_000.25, 1_750_000_000.25);
    assert.is(readTrustedFile(path, rules, own).modifiedAtUnixMs, 1_750_000_000_250);
    utimesSync(path, new Date(-5_000), new Date(-5_000));
    assert.is(readTrustedFile(path, rules, own).modifiedAtUnixMs, 0);
  }));

test('the same file has the same identity, and another one after it was written again, touched or replaced', () =>
  withFile((path) => {
    const identity = () => readTrustedFile(path, rules, own).identity;
    const first = identity();
    assert.is(identity(), first);
    utimesSync(path, 1_750_000_000, 1_750_000_000);
    const touched = identity();
    writeFileSync(path, 'longer text');
    utimesSync(path, 1_750_000_000, 1_750_000_000);
    const longer = identity();
    const before = statSync(path).ino;
    writeFileSync(`${path}.new`, 'longer text', { mode: 0o600 });
    rmSync(path);
    writeFileSync(path, 'longer text', { mode: 0o600 });
    utimesSync(path, 1_750_000_000, 1_750_000_000);
    const all = [first, touched, longer, ...(statSync(path).ino === before ? [] : [identity()])];
    assert.is(new Set(all).size, all.length);
  }));

test('a group matters for a secret only, and only when it may read and the reader is not in it', () => {
  if (skipWithout(isRoot, 'foreign groups', 'root')) return;
  const service: Reader = { uid: 64_321, gids: [64_321] };
  const open: FileRules = { ...rules, forbiddenBits: 0o022 };
  withFile((path) => {
    chownSync(path, service.uid, 64_322);
    chmodSync(path, 0o600);
    assert.is(readTrustedFile(path, rules, service).bytes.toString(), 'text');
    chmodSync(path, 0o640);
    assert.is(throwsClass(() => readTrustedFile(path, rules, service), 'file_unsafe').facts['reason'], 'foreign_group');
    assert.is(readTrustedFile(path, rules, { ...service, gids: [64_321, 64_322] }).bytes.toString(), 'text');
    assert.is(readTrustedFile(path, open, service).bytes.toString(), 'text');
  });
});

test.run();
