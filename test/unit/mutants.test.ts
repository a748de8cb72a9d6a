// The table of the mutants fits the sources: `npm run mutants` tries them.

import { existsSync, readFileSync } from 'node:fs';
import { transform } from 'esbuild';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { mutants } from '../mutants/mutants.ts';
import { withEdit } from '../support/markers.ts';

const root = new URL('../..', import.meta.url).pathname;

test('each mutant finds its place, changes it, and can be parsed', async () => {
  const problems = await Promise.all(
    mutants.map(async (mutant) => {
      try {
        await transform(withEdit(readFileSync(root + mutant.file, 'utf8'), mutant), {
          loader: 'ts',
          logLevel: 'silent',
        });
        return [];
      } catch (error) {
        return [`${mutant.name}: ${error}`];
      }
    }),
  );
  assert.equal(problems.flat(), []);
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
