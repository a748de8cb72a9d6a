// The file operations of a save, on real files: what is read is nobody else's, and what is written is for nobody else.

import {
  chmodSync,
  chownSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { pinDirectory } from '../../../../supervisor/custody/pinned-directory.ts';
import { createStateFiles, type StateFiles } from '../../../../supervisor/custody/state-files.ts';
import { skipWithout } from '../../../support/skip.ts';
import { rejectsClass } from '../../../support/throws.ts';

const uid = process.geteuid?.() ?? -1;

type Place = { readonly files: StateFiles; readonly at: (name: string) => string; readonly directory: string };

async function withFiles(run: (place: Place) => Promise<void>, ownUid = uid): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'bao-kms-state-files-'));
  const pinned = pinDirectory(directory, 'state', undefined);
  try {
    await run({ files: createStateFiles(pinned, ownUid), at: (name) => join(directory, name), directory });
  } finally {
    pinned.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

function put(path: string, mode: number, text = 'state'): void {
  writeFileSync(path, text);
  chmodSync(path, mode);
}

test('what is not there is no state, and no error', () =>
  withFiles(async ({ files }) => {
    assert.is(await files.read('state', 10), undefined);
    await files.checkTarget('state');
    await files.remove('state');
  }));

for (const mode of [0o640, 0o600, 0o440, 0o400]) {
  test(`mode ${mode.toString(8)} is read`, () =>
    withFiles(async ({ files, at }) => {
      put(at('state'), mode);
      assert.is(await files.read('state', 5), 'state');
    }));
}

for (const mode of [0o740, 0o660, 0o650, 0o644, 0o642, 0o641]) {
  test(`mode ${mode.toString(8)} is refused`, () =>
    withFiles(async ({ files, at }) => {
      put(at('state'), mode);
      await rejectsClass(files.read('state', 5), 'state_permission');
    }));
}

for (const [what, make] of [
  ['a link to a good file', ({ at }: Place) => symlinkSync('good', at('state'))],
  ['a link to nothing', ({ at }: Place) => symlinkSync('nothing', at('state'))],
  ['a directory', ({ at }: Place) => mkdirSync(at('state'))],
] as const) {
  test(`${what} is neither read nor replaced, and never taken for no state`, () =>
    withFiles(async (place) => {
      put(place.at('good'), 0o640);
      make(place);
      await rejectsClass(place.files.read('state', 5), 'state_permission');
      await rejectsClass(place.files.checkTarget('state'), 'state_permission');
    }));
}

test('a state of its limit is read, one byte more is corrupt', () =>
  withFiles(async ({ files, at }) => {
    put(at('state'), 0o640);
    assert.is(await files.read('state', 5), 'state');
    await rejectsClass(files.read('state', 4), 'state_corrupt');
  }));

test('a state of the user or of root is read, one of anybody else is not', async () => {
  if (skipWithout(uid === 0, 'foreign owners', 'root')) return;
  await withFiles(async ({ files, at }) => {
    put(at('state'), 0o640);
    assert.is(await files.read('state', 5), 'state');
    chownSync(at('state'), 64_321, 0);
    assert.is(await files.read('state', 5), 'state');
    chownSync(at('state'), 64_322, 0);
    await rejectsClass(files.read('state', 5), 'state_permission');
  }, 64_321);
});

test('a new file is for its user and group, whatever the mask, and is never one that is there', () =>
  withFiles(async ({ files, at }) => {
    const before = process.umask(0o077);
    try {
      const file = await files.create('.new');
      await file.write('text');
      await file.chmod();
      await file.sync();
      await file.close();
    } finally {
      process.umask(before);
    }
    assert.equal([statSync(at('.new')).mode & 0o7777, readFileSync(at('.new'), 'utf8')], [0o640, 'text']);
    for (const name of ['.new', '.link']) {
      if (name === '.link') symlinkSync('elsewhere', at(name));
      const error = await files.create(name).catch((thrown: unknown) => thrown);
      assert.is((error as NodeJS.ErrnoException).code, 'EEXIST', name);
    }
  }));

test('a rename replaces, a removal removes, and what cannot be removed is told', () =>
  withFiles(async ({ files, at }) => {
    put(at('.new'), 0o640, 'new');
    put(at('state'), 0o640);
    linkSync(at('state'), at('old'));
    await files.rename('.new', 'state');
    await files.syncDirectory();
    assert.equal([...files.list()].sort(), ['old', 'state']);
    assert.is(await files.read('state', 5), 'new');
    await files.remove('state');
    assert.equal(files.list(), ['old']);
    mkdirSync(at('directory'));
    const error = await files.remove('directory').catch((thrown: unknown) => thrown);
    assert.instance(error, Error);
  }));

test('a directory that others may write by now is refused', () =>
  withFiles(async ({ files, directory }) => {
    await files.checkDirectory();
    chmodSync(directory, 0o770);
    await rejectsClass(files.checkDirectory(), 'directory_unsafe');
  }));

test.run();
