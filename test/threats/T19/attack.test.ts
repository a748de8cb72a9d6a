// T19 metrics leak: after a hostile run no canary stands in /metrics, and labels are those of the published list.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { reasons } from '../../../plugin/health/verdict.ts';
import { warningCodes } from '../../../plugin/health/warnings.ts';
import { profileFindings } from '../../../plugin/keys/profile-findings.ts';
import { rightFindings } from '../../../plugin/keys/rights.ts';
import { operations } from '../../../plugin/openbao/operations.ts';
import { boundNames } from '../../../plugin/telemetry/bounds.ts';
import { metricSeries } from '../../../plugin/telemetry/metrics.ts';
import { directoryNames, portNames } from '../../../shared/channel/messages.ts';
import { loginDetails, tlsDetails } from '../../../shared/errors/cause.ts';
import { errorClasses } from '../../../shared/errors/error.ts';
import { kmsErrorClasses, policies, tokenStatuses } from '../../../shared/errors/policy.ts';
import { runHostile } from '../../support/hostile-run.ts';
import { found } from '../../support/search.ts';

/** Every value that any label may take, besides hashes, bucket bounds and build data. */
const words = new Set<string>([
  ...kmsErrorClasses,
  ...Object.values(policies).map(({ probeClass }) => probeClass),
  ...['ok', 'error', 'status', 'encrypt', 'decrypt', 'jwt', 'none', 'active', 'pending', 'unknown', 'metadata', 'deep'],
  ...[...loginDetails, ...tlsDetails, ...profileFindings, ...warningCodes, ...rightFindings, ...directoryNames],
  ...[...portNames, ...boundNames],
  ...[...reasons, ...tokenStatuses, 'openbao_ca', ...Object.values(operations).map(({ label }) => label)],
  ...['exit', 'signal', 'hung', 'not_ready', 'violation', 'confinement', ...errorClasses],
]);

test('no canary in /metrics, every series and label on the list, every label value of a closed set', async () => {
  const { metrics, canaries } = await runHostile('json', 'info');
  assert.equal(found(metrics, canaries), []);
  const known = new Map(metricSeries.map(({ name, labels }) => [name, labels]));
  const strangers: string[] = [];
  for (const line of metrics.split('\n').filter((one) => one !== '' && !one.startsWith('#'))) {
    const [, series = '', labels = ''] = /^([a-z0-9_]+)(?:\{(.*)\})? /u.exec(line) ?? [];
    const base = [series, series.replace(/_(?:bucket|sum|count)$/u, '')].find((name) => known.has(name));
    if (base === undefined) strangers.push(series);
    for (const [, name = '', value = ''] of labels.matchAll(/([a-z_]+)="([^"]*)"/gu)) {
      const isListed = name === 'le' || known.get(base ?? '')?.includes(name) === true;
      const isHash = name === 'hash' && /^[A-Za-z0-9_-]{43}$/u.test(value);
      const isBuild = base === 'openbao_kms_build_info';
      const isStatus = name === 'http_status' && /^(?:[1-5]\d\d|none)$/u.test(value);
      const isClosed = words.has(value) || name === 'le' || isHash || isBuild || isStatus;
      const isClass = name !== 'error_class' || (kmsErrorClasses as readonly string[]).includes(value);
      if (!isListed || !isClosed || !isClass) strangers.push(`${series} ${name}=${value}`);
    }
  }
  assert.equal(strangers, []);
});

test.run();
