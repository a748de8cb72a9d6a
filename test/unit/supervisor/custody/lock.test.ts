// The lock beside the state and the socket: who holds it is told, and a helper that does not run is not taken for another provider.

import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type LockDeps, takeLock } from '../../../../supervisor/custody/lock.ts';
import { pinDirectory } from '../../../../supervisor/custody/pinned-directory.ts';
import { rejectsClass } from '../../../support/throws.ts';

const uid = process.geteuid?.() ?? -1;

/** Takes a lock with a helper that ends with these codes, one after the other. */
async function withCodes(
  codes: readonly (number | undefined)[],
  run: (take: () => ReturnType<typeof takeLock>, seen: { readonly path: string; asked: number }) => Promise<void>,
): Promise<void> {
  const path = mkdtempSync(join(tmpdir(), 'bao-kms-lock-'));
  chmodSync(path, 0o750);
  const directory = pinDirectory(path, 'state', uid);
  const seen = { path, asked: 0 };
  const deps: LockDeps = {
    uid,
    pid: 4711,
    wallMs: () => 1_750_000_000_000,
    flock: async () => codes[seen.asked++],
    isShareable: async () => true,
    pause: async () => {},
  };
  try {
    await run(() => takeLock(directory, 'x.lock', deps), seen);
  } finally {
    directory.close();
    rmSync(path, { recursive: true, force: true });
  }
}

test('a free lock is taken, and names its owner', () =>
  withCodes([0], async (take, { path }) => {
    const lock = await take();
    assert.is(readFileSync(join(path, 'x.lock'), 'utf8'), '4711 2025-06-15T15:06:40.000Z\n');
    lock.release();
  }));

test('one that is busy for a moment is tried twice', () =>
  withCodes([1, 0], async (take, seen) => {
    (await take()).release();
    assert.is(seen.asked, 2);
  }));

test('one that stays busy is held by another provider', () =>
  withCodes([1, 1], async (take) => {
    assert.match((await rejectsClass(take(), 'locked')).message, /another provider holds the lock/u);
  }));

for (const code of [127, 64, undefined]) {
  test(`a helper that ends with ${code} is a fault of the host and no other provider`, () =>
    withCodes([code, code], async (take) => {
      assert.match(
        (await rejectsClass(take(), 'runtime_unsupported')).message,
        /the helper flock (?:ended with|did not)/u,
      );
    }));
}

test.run();
