// The table of the mutants fits the sources: `npm run mutants` tries them.

import { existsSync, readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { mutants } from '../mutants/mutants.ts';

const root = new URL('../..', import.meta.url).pathname;

test('the text of each mutant stands once in its file, and changes', () => {
  const misplaced = mutants.filter(
    ({ file, find, replace }) => readFileSync(root + file, 'utf8').split(find).length !== 2 || find === replace,
  );
  assert.equal(
    misplaced.map(({ name }) => name),
    [],
  );
});

test('each names tests that are there, or says why none can notice', () => {
  const blind = mutants.filter(({ tests, equivalent }) => tests.length === 0 && equivalent === undefined);
  assert.equal(blind, []);
  const missing = mutants.flatMap(({ tests }) => tests).filter((file) => !existsSync(root + file));
  assert.equal(missing, []);
});

test('there are at least sixty, in every room of the product', () => {
  assert.ok(mutants.length >= 60);
  const rooms = new Set(mutants.map(({ file }) => file.split('/').slice(0, 2).join('/')));
  for (const room of ['plugin/kms', 'plugin/keys', 'plugin/probes', 'plugin/health', 'plugin/auth', 'plugin/http']) {
    assert.ok(rooms.has(room), room);
  }
  for (const room of ['supervisor/custody', 'supervisor/gate', 'supervisor/launch', 'supervisor/lifecycle']) {
    assert.ok(rooms.has(room), room);
  }
});

test.run();
