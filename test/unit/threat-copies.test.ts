// The copies in which the attacks of the threats meet a control that is switched off: what they start is built from the changed sources.

import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createBuiltCopy } from '../threats/run.ts';

/** Both processes cut the texts of their logs. */
const place = { file: 'shared/log/fields.ts', at: 'control: log.text-cut' };

test('a mutation stands in the distribution of its copy, in both processes', async () => {
  const directory = await createBuiltCopy({
    name: 'x',
    edits: [{ ...place, replace: "return text + 'canary-copy';" }],
  });
  try {
    const lib = join(directory, 'dist/lib');
    const bundles = readdirSync(lib).filter((name) => name.endsWith('.mjs'));
    const changed = bundles.filter((name) => readFileSync(join(lib, name), 'utf8').includes('canary-copy'));
    assert.ok(changed.includes('plugin.mjs'));
    assert.ok(
      changed.some((name) => name !== 'plugin.mjs'),
      'the supervisor',
    );
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

test('a mutation that does not build is an error, and no control that was noticed', async () => {
  const copy = createBuiltCopy({ name: 'a brace too few', edits: [{ ...place, replace: 'return {;' }] });
  await copy.then(
    () => assert.unreachable(),
    (error: Error) => assert.match(error.message, /mutation "a brace too few" does not build:[\s\S]*fields\.ts/u),
  );
});

test.run();
