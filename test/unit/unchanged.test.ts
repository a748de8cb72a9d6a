// What others match against does not change by itself: error classes and what follows from them, series, configuration fields, exit
// codes. unchanged.json was taken before the sources were rebuilt; whoever changes a promise changes it there too, on purpose.

import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { kmsFailureOf } from '../../plugin/kms/failures.ts';
import { metricSeries } from '../../plugin/telemetry/metrics.ts';
import { fields } from '../../shared/config/fields.ts';
import { errorClasses, ProviderError } from '../../shared/errors/error.ts';
import { policies } from '../../shared/errors/policy.ts';
import { checkIds, GateRefusal } from '../../supervisor/refusal.ts';

const before = JSON.parse(readFileSync(new URL('unchanged.json', import.meta.url), 'utf8')) as Record<string, unknown>;
const methods = ['status', 'encrypt', 'decrypt'] as const;

function failuresOf(errorClass: (typeof errorClasses)[number]): Record<string, unknown> {
  const error = new ProviderError(errorClass, 'x');
  return Object.fromEntries(methods.map((method) => [method, Object.values(kmsFailureOf(error, method)).join(' | ')]));
}

/** Which of two in a cause chain counts. */
function precedence(): string[] {
  const answer = (outer: (typeof errorClasses)[number], inner: (typeof errorClasses)[number]) =>
    kmsFailureOf(new ProviderError(outer, 'x', { cause: new ProviderError(inner, 'x') }), 'decrypt').errorClass;
  return errorClasses.map((outer) => errorClasses.map((inner) => answer(outer, inner)).join(' '));
}

const now: Record<string, () => unknown> = {
  errors: () =>
    Object.fromEntries(
      errorClasses.map((name) => {
        const { exitCode, evidence, probeClass } = policies[name];
        return [name, { exitCode, evidence, probeClass, ...failuresOf(name) }];
      }),
    ),
  precedence,
  gateExitCodes: () =>
    Object.fromEntries(
      checkIds.map((id) => [
        id,
        Object.fromEntries(
          errorClasses.map((name) => [name, new GateRefusal(id, new ProviderError(name, 'x')).exitCode]),
        ),
      ]),
    ),
  series: () => metricSeries.map(({ name, type, labels }) => `${name} ${type} ${labels.join(',')}`),
  fields: () =>
    fields.map((field) => `${field.path} ${field.kind} ${'byDefault' in field ? String(field.byDefault) : ''}`.trim()),
};

for (const [name, take] of Object.entries(now)) {
  test(`${name} are those of before`, () => {
    assert.equal(JSON.parse(JSON.stringify(take())), before[name]);
  });
}

test.run();
