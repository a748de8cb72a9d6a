// T18 logs leak: after every success and failure, at every level and in both formats, no canary stands in the log.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { logFields } from '../../../shared/log/fields.ts';
import { runHostile } from '../../support/hostile-run.ts';
import { found } from '../../support/search.ts';

for (const [format, level] of [
  ['json', 'debug'],
  ['text', 'debug'],
  ['json', 'error'],
] as const) {
  test(`no canary in the ${format} log at level ${level}`, async () => {
    const { log, canaries } = await runHostile(format, level);

    assert.equal(found(log, canaries), []);
    if (level === 'debug') assert.match(log, /kms\.request/u);
  });
}

test('every field of every line is on the allow-list', async () => {
  const { log } = await runHostile('json', 'debug');
  const names = new Set(
    log
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .flatMap((line) => Object.keys(JSON.parse(line))),
  );
  const allowed: readonly string[] = ['ts', 'level', 'process', 'message', ...logFields];

  assert.equal(
    [...names].filter((name) => !allowed.includes(name)),
    [],
  );
  assert.equal(
    log.split('\n').filter((line) => line !== '' && !line.startsWith('{')),
    [],
    'nothing unstructured',
  );
});

test.run();
