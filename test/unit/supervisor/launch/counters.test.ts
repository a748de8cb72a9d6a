// What is counted of credential files: every refusal, said once a minute, and over with the first good reading.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { countCredentialFiles, emptyCounters } from '../../../../supervisor/launch/counters.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';

function bench() {
  const clock = createFakeClock(1_000);
  const counters = emptyCounters(0);
  const said: string[] = [];
  let changes = 0;
  const news = countCredentialFiles(
    counters,
    (_level, message, fields) => said.push(`${message} ${fields?.['name']} ${fields?.['reason']}`),
    clock,
    () => {
      changes += 1;
    },
  );
  return { clock, counters, said, news, changes: () => changes };
}

test('the same refusal is counted each time and said once a minute; another reason or file is said at once', async () => {
  const { clock, counters, said, news } = bench();
  for (let count = 0; count < 3; count += 1) news.refused('jwt', 'file_missing', 'hint');
  news.refused('jwt', 'foreign_owner', 'hint');
  news.refused('pin', 'file_missing', 'hint');
  await clock.advance(59_999);
  news.refused('jwt', 'file_missing', 'hint');
  const once = ['jwt file_missing', 'jwt foreign_owner', 'pin file_missing'].map(
    (what) => `credential.refused ${what}`,
  );
  assert.equal(said, once);
  await clock.advance(1);
  news.refused('jwt', 'file_missing', 'hint');
  assert.equal(said, [...once, 'credential.refused jwt file_missing']);
  assert.equal(counters.credentialRefusals, { 'jwt file_missing': 5, 'jwt foreign_owner': 1, 'pin file_missing': 1 });
});

test('a file is refused since its first refusal, for its last reason, until it is read; others stay', async () => {
  const { clock, counters, news, changes } = bench();
  news.refused('pin', 'file_missing', 'hint');
  news.refused('jwt', 'file_missing', 'hint');
  await clock.advance(5_000);
  news.refused('jwt', 'foreign_owner', 'hint');
  assert.equal(counters.filesRefused, [
    { name: 'pin', reason: 'file_missing', sinceUnixMs: 1_000 },
    { name: 'jwt', reason: 'foreign_owner', sinceUnixMs: 1_000 },
  ]);
  assert.is(changes(), 3);
  news.read('openbao_ca');
  assert.is(changes(), 3, 'what was not refused is no news');
  news.read('jwt');
  assert.equal([counters.filesRefused.map(({ name }) => name), changes()], [['pin'], 4]);
  await clock.advance(1_000);
  news.refused('jwt', 'file_missing', 'hint');
  assert.is(counters.filesRefused.at(-1)?.sinceUnixMs, 7_000);
});

test.run();
