// docs/limits.md says what the code does: every constant of a row stands in its file with that value, and every bound of the code
// has a row.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { boundNames } from '../../plugin/telemetry/bounds.ts';

const root = new URL('../..', import.meta.url).pathname;
const read = (name: string) => readFileSync(join(root, name), 'utf8');
const rows = [...read('docs/limits.md').matchAll(/`([\w/.-]+\.ts)`: `(\w+) = ([^`]+)` \|$/gmu)].map(
  ([, file = '', name = '', value = '']) => ({ file, name, value }),
);

/** Inner numbers: nothing that others send becomes greater by them. */
const inner: readonly string[] = [
  'shared/time/duration.ts maxNanoseconds',
  'shared/errors/error.ts maxCauses',
  'supervisor/notify/notify.ts maxStatusBytes',
  'supervisor/custody/watch-directories.ts maxWaitMs',
  'plugin/probes/breaker.ts maxPauseMs',
  'plugin/probes/call-evidence.ts maxRemembered',
  'plugin/probes/round-trip.ts maxCiphertextBytes',
  'plugin/system.ts maxRandom',
];

test('every constant that the document names stands in its file with that value', () => {
  assert.ok(rows.length > 30, `${rows.length} rows`);
  const wrong = rows.filter(({ file, name, value }) => !read(file).includes(`const ${name} = ${value};`));
  assert.equal(wrong, []);
});

test('every bound of the code has a row', () => {
  const sources = ['shared', 'supervisor', 'plugin'].flatMap((room) =>
    readdirSync(join(root, room), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts') && !name.includes('generated'))
      .map((name) => join(room, name)),
  );
  const found = sources.flatMap((file) =>
    [...read(file).matchAll(/^(?:export )?const ((?:max|greatest)[A-Z]\w*) = /gmu)].map(
      ([, name]) => `${file} ${name}`,
    ),
  );
  const told = [...rows.map(({ file, name }) => `${file} ${name}`), ...inner];
  assert.equal(found.sort(), told.sort());
});

test('every name of a bound is told in both documents, and no other is told as one', () => {
  const operations = read('docs/operations.md').split('## When a bound is reached')[1]?.split('\n## ')[0] ?? '';
  const listed = [...operations.matchAll(/^\| `(\w+)` \|/gmu)].map(([, name]) => name);
  assert.equal(listed.toSorted(), [...boundNames].sort());
  for (const name of boundNames) assert.ok(read('docs/limits.md').includes(`\`${name}\``), name);
});

test.run();
