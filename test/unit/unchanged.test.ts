// What others match against does not change by itself: error classes and what follows from them, series, configuration fields, exit
// codes. unchanged.json was taken before the sources were rebuilt; whoever changes a promise changes it there too, on purpose:
// `npm run promises` (UPDATE_UNCHANGED=1) writes it anew, and the commit shows what changed.

import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { kmsFailureOf } from '../../plugin/kms/failures.ts';
import { metricSeries } from '../../plugin/telemetry/metrics.ts';
import { fields } from '../../shared/config/fields.ts';
import { errorClasses, ProviderError } from '../../shared/errors/error.ts';
import { policies } from '../../shared/errors/policy.ts';
import { checkIds, GateRefusal } from '../../supervisor/refusal.ts';

const file = new URL('unchanged.json', import.meta.url);
const isUpdating = process.env['UPDATE_UNCHANGED'] === '1';
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
      checkIds.map((id) => {
        const codes = errorClasses.map((name) => new GateRefusal(id, new ProviderError(name, 'x')).exitCode);
        return [id, [...new Set(codes)]];
      }),
    ),
  series: () => metricSeries.map(({ name, type, labels }) => `${name} ${type} ${labels.join(',')}`),
  fields: () =>
    fields.map((field) => `${field.path} ${field.kind} ${'byDefault' in field ? String(field.byDefault) : ''}`.trim()),
};

const taken = JSON.stringify(Object.fromEntries(Object.entries(now).map(([name, take]) => [name, take()])), null, 2);
if (isUpdating) writeFileSync(file, `${taken}\n`);
const before = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;

for (const [name, value] of Object.entries(JSON.parse(taken) as Record<string, unknown>)) {
  test(`${name} are those of before`, () => {
    const help =
      'not what test/unit/unchanged.json says; if that is meant, run npm run promises and look at the difference';
    assert.equal(value, before[name], `${name}: ${help}`);
  });
}

test.run();
