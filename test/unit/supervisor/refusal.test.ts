// What the log says of a refused configuration: the first problem at once, the count, and the list as far as a line may go.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ConfigInvalid, problem } from '../../../shared/config/problem.ts';
import { ProviderError } from '../../../shared/errors/error.ts';
import { allowedFields } from '../../../shared/log/fields.ts';
import { createLog } from '../../../shared/log/logger.ts';
import { GateRefusal, refusalFields } from '../../../supervisor/refusal.ts';
import { createFakeClock } from '../../support/fake-clock.ts';

const problemsOf = (count: number, message = 'is required') =>
  Array.from({ length: count }, (_, index) => problem(`field${index}`, 'required', message));

test('one problem is the hint; of several the hint is the first, with the count and how to see all', () => {
  assert.equal(refusalFields(new GateRefusal('gate.config', new ConfigInvalid(problemsOf(1)))), {
    reason: 'config_invalid',
    hint: 'field0: is required',
    problem_count: 1,
    problems: ['field0: is required'],
  });
  const fields = refusalFields(new GateRefusal('gate.config', new ConfigInvalid(problemsOf(15))));

  assert.is(fields.hint, 'field0: is required; and 14 more: run bao-kms-provider config check');
  assert.is(fields.problem_count, 15);
  assert.is(fields.problems?.length, 15);
});

test('another refusal has its sentence and no list; an error of ours has no text of its own', () => {
  const locked = new GateRefusal('gate.lock', new ProviderError('locked', 'the provider holds the lock'));

  assert.equal(refusalFields(locked), { reason: 'locked', hint: 'the provider holds the lock' });
  assert.equal(refusalFields(new Error('secret')), { reason: 'internal', hint: 'an error of our own' });
});

test('the list of a line ends at 8 KiB and says how many are missing; each text ends at 512 characters', () => {
  const sized = (count: number) => Array.from({ length: count }, () => 'x'.repeat(512));

  assert.equal(allowedFields({ problems: sized(16) })['problems'], sized(16));
  assert.equal(allowedFields({ problems: sized(17) })['problems'], [...sized(16), 'and 1 more']);
  assert.equal(allowedFields({ problems: sized(1000) })['problems'], [...sized(16), 'and 984 more']);
  assert.equal(allowedFields({ problems: ['y'.repeat(513)] })['problems'], ['y'.repeat(512)]);
  assert.equal(allowedFields({ problems: ['é'.repeat(512), ...sized(15)] })['problems'], [
    'é'.repeat(512),
    ...sized(14),
    'and 1 more',
  ]);
});

for (const [format, expected] of [
  ['json', '"problem_count":2,"problems":["a: b","c: d"],'],
  ['text', 'problem_count=2 problems=["a: b","c: d"]\n'],
] as const) {
  test(`the list is a list in a ${format} line`, () => {
    const lines: string[] = [];
    const log = createLog({ process: 'supervisor', level: 'info', format }, createFakeClock(), (line) =>
      lines.push(line),
    );

    log('error', 'gate.refused', { problem_count: 2, problems: ['a: b', 'c: d'] });

    assert.ok(lines[0]?.includes(expected), lines[0]);
  });
}

test('a first problem of any length leaves room in the hint for how many more there are', () => {
  const { hint } = refusalFields(new ConfigInvalid(problemsOf(2, 'x'.repeat(1_000))));

  assert.is(hint.indexOf('; and 1 more'), 400);
});

test.run();
