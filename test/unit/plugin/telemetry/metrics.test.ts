// The series as they are asked for.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createMetrics, durationBucketsSeconds } from '../../../../plugin/telemetry/metrics.ts';

test('what is read only when asked is read before each answer, and of that answer', async () => {
  let asked = 0;
  const metrics = createMetrics(({ set }) => {
    asked += 1;
    set('key_version', asked);
  });
  for (const version of [1, 2]) assert.match(await metrics.text(), new RegExp(`key_version ${version}\\n`, 'u'));
  assert.is(asked, 2);
});

test('a total is set and not added, for each set of labels', async () => {
  const metrics = createMetrics(() => {});
  for (const total of [5, 7]) metrics.setTotal('auth_login_total', total, { status: 'ok' });
  metrics.setTotal('auth_login_total', 1, { status: 'error' });
  const text = await metrics.text();
  assert.match(text, /auth_login_total\{status="ok"\} 7\n/u);
  assert.match(text, /auth_login_total\{status="error"\} 1\n/u);
});

test('the buckets of a duration ascend, from a tenth of a millisecond to four seconds', () => {
  assert.equal(
    [...durationBucketsSeconds].sort((one, other) => one - other),
    durationBucketsSeconds,
  );
  assert.equal([durationBucketsSeconds[0], durationBucketsSeconds.at(-1)], [0.0001, 4.096]);
});

test.run();
