// T04 auth material theft: every unsafe file is refused with its reason, and the reader sees what it checked. Claims are the
// plugin's part: test/unit/plugin/auth/methods/jwt-claims.test.ts and the last test here.

import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { checkJwt } from '../../../plugin/auth/methods/jwt-claims.ts';
import { readTrustedFile } from '../../../supervisor/custody/trusted-file.ts';
import { skipWithout } from '../../support/skip.ts';
import { throwsClass } from '../../support/throws.ts';

const isRoot = process.geteuid?.() === 0;
const rules = { field: 'auth.jwt.jwtFile', forbiddenBits: 0o037, maxBytes: 64 };
const reader = { uid: process.geteuid?.() ?? -1, gids: [process.getegid?.() ?? -1] };
const secret = 'canary-secret-content';

function withFile(run: (path: string, directory: string) => void): void {
  const directory = mkdtempSync(join(tmpdir(), 'bao-kms-t04-'));
  chmodSync(directory, 0o750);
  const path = join(directory, 'identity.jwt');
  writeFileSync(path, secret, { mode: 0o600 });
  try {
    run(path, directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

test('a safe file is read', () =>
  withFile((path) => {
    assert.is(readTrustedFile(path, rules, reader).bytes.toString(), secret);
  }));

for (const mode of [0o600, 0o640, 0o400, 0o440, 0o740]) {
  test(`mode ${mode.toString(8)} is read`, () =>
    withFile((path) => {
      chmodSync(path, mode);
      readTrustedFile(path, rules, reader);
    }));
}

for (const mode of [0o620, 0o610, 0o604, 0o602, 0o601, 0o666, 0o777]) {
  test(`mode ${mode.toString(8)} is refused`, () =>
    withFile((path) => {
      chmodSync(path, mode);
      const error = throwsClass(() => readTrustedFile(path, rules, reader), 'file_unsafe');
      assert.is(error.facts['reason'], 'unsafe_permissions');
      assert.not.match(error.message, /canary/u);
    }));
}

const others: readonly (readonly [string, string, (path: string, directory: string) => void])[] = [
  ['a missing file', 'file_missing', (path) => unlinkSync(path)],
  [
    'a symbolic link',
    'symlink_unsupported',
    (path, directory) => {
      renameSync(path, join(directory, 'real'));
      symlinkSync('real', path);
    },
  ],
  [
    'a FIFO',
    'regular_file_required',
    (path) => {
      unlinkSync(path);
      execFileSync('mkfifo', ['-m', '600', path]);
    },
  ],
  [
    'a directory',
    'regular_file_required',
    (path) => {
      unlinkSync(path);
      mkdirSync(path, 0o700);
    },
  ],
  [
    'a file below a directory that the group may write',
    'unsafe_ancestor',
    (_, directory) => chmodSync(directory, 0o770),
  ],
  [
    'a file below a directory that everybody may write',
    'unsafe_ancestor',
    (_, directory) => chmodSync(directory, 0o777),
  ],
  [
    'a file below a sticky directory that is not root’s and everybody may write',
    'unsafe_ancestor',
    (_, directory) => {
      if (!isRoot) chmodSync(directory, 0o1777);
      else {
        chmodSync(directory, 0o777);
      }
    },
  ],
];

for (const [what, reason, change] of others) {
  test(`${what} is refused: ${reason}`, () =>
    withFile((path, directory) => {
      change(path, directory);
      const error = throwsClass(() => readTrustedFile(path, rules, reader), 'file_unsafe');
      assert.is(error.facts['reason'], reason);
    }));
}

test('a file over its limit is refused, one at it is read', () =>
  withFile((path) => {
    writeFileSync(path, 'x'.repeat(64));
    readTrustedFile(path, rules, reader);
    writeFileSync(path, 'x'.repeat(65));
    throwsClass(() => readTrustedFile(path, rules, reader), 'file_too_large');
  }));

test('a file swapped between check and opening is refused', () =>
  withFile((path, directory) => {
    const evil = join(directory, 'evil');
    writeFileSync(evil, 'other', { mode: 0o644 });
    throwsClass(() => readTrustedFile(path, rules, reader, { before: () => renameSync(evil, path) }), 'file_unsafe');
  }));

test('a link put there between check and opening is not followed', () =>
  withFile((path, directory) => {
    writeFileSync(join(directory, 'target'), 'other', { mode: 0o600 });
    throwsClass(
      () =>
        readTrustedFile(path, rules, reader, {
          before: () => {
            unlinkSync(path);
            symlinkSync('target', path);
          },
        }),
      'file_unsafe',
    );
  }));

test('a file of another owner, and one readable by a foreign group, are refused', () => {
  if (skipWithout(isRoot, 'foreign owners and groups', 'root')) return;
  withFile((path) => {
    chownSync(path, 12_345, 0);
    assert.is(throwsClass(() => readTrustedFile(path, rules, reader), 'file_unsafe').facts['reason'], 'foreign_owner');
  });
  withFile((path) => {
    chmodSync(path, 0o640);
    chownSync(path, 0, 12_345);
    const unprivileged = { uid: 4_711, gids: [4_711] };
    assert.is(
      throwsClass(() => readTrustedFile(path, rules, unprivileged), 'file_unsafe').facts['reason'],
      'foreign_group',
    );
  });
});

test('a second name of the same file does not matter, its mode does', () =>
  withFile((path, directory) => {
    linkSync(path, join(directory, 'second'));
    readTrustedFile(path, rules, reader);
    chmodSync(join(directory, 'second'), 0o644);
    throwsClass(() => readTrustedFile(path, rules, reader), 'file_unsafe');
  }));

test('a JWT with little life left is not used', () => {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const jwt = Buffer.from(`${part({ alg: 'ES256' })}.${part({ exp: 1_100 })}.c2ln`);
  const strict = {
    minRemainingTtlMs: 120_000,
    clockSkewLeewayMs: 0,
    expectedIssuer: '',
    expectedAudience: [],
    expectedSubject: '',
  };
  throwsClass(() => checkJwt(jwt, strict, 1_000_000), 'jwt_near_expiry');
});

test.run();
