// Alert rules: they name series and label values that exist, and fire when they should and only then (where promtool is found).

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parse } from 'yaml';
import { metricSeries } from '../../plugin/telemetry/metrics.ts';
import { skipWithout } from '../support/skip.ts';

const root = new URL('../..', import.meta.url).pathname;
const file = `${root}deploy/monitoring/alerts.yaml`;
type Rule = { readonly alert: string; readonly expr: string; readonly labels: Record<string, string> };
const { groups } = parse(readFileSync(file, 'utf8')) as { groups: readonly { readonly rules: readonly Rule[] }[] };
const rules = groups.flatMap((group) => group.rules);

for (const { alert, expr, labels } of rules) {
  test(`${alert} names only series and labels that are exported`, () => {
    const names = [...expr.matchAll(/openbao_kms_\w+/gu)].map(([name]) => name);
    assert.ok(names.length > 0);
    for (const name of names) {
      const series = metricSeries.find((one) => one.name === name);
      assert.ok(series, name);
      const selector = new RegExp(`${name}\\{([^}]*)\\}`, 'u').exec(expr)?.[1] ?? '';
      for (const [, label] of selector.matchAll(/(\w+)[!=]~?=?"/gu))
        assert.ok(series.labels.includes(label ?? ''), `${name}: ${label}`);
    }
    assert.ok(['critical', 'warning'].includes(labels['severity'] ?? ''));
  });
}

test('the rules fire when they should, and only then', () => {
  const isThere = spawnSync('promtool', ['--version']).status === 0;
  if (skipWithout(isThere, 'alert rules', 'promtool')) return;
  const checked = spawnSync('promtool', ['check', 'rules', file], { encoding: 'utf8' });
  assert.is(checked.status, 0, `${checked.stdout}${checked.stderr}`);
  const tested = spawnSync('promtool', ['test', 'rules', 'alerts.test.yaml'], {
    cwd: `${root}test/unit`,
    encoding: 'utf8',
  });
  assert.is(tested.status, 0, `${tested.stdout}${tested.stderr}`);
});

test('each rule has a test that makes it fire', () => {
  const tests = readFileSync(`${root}test/unit/alerts.test.yaml`, 'utf8');
  for (const { alert } of rules) assert.match(tests, new RegExp(`alertname: ${alert}\\n\\s+exp_alerts:`, 'u'), alert);
});

test.run();
