// The benchmark’s verdicts: what is not measured, or is no number, keeps no promise; medians and ratios are those of the rounds.

import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Costed, figuresOfCalls, type Rounds } from '../bench/calls.ts';
import { readOptions } from '../bench/options.ts';
import { median, percentile } from '../bench/statistics.ts';
import { table, targetTable } from '../bench/table.ts';
import { type TargetRow, targets, verdictOf } from '../bench/targets.ts';

const throughput: TargetRow = {
  ...{ title: 'calls', figure: 'ratio', unit: '', digits: 2, sense: 'at least', must: 1, goal: 1.5 },
};
const latency: TargetRow = { ...throughput, figure: 'ms', sense: 'at most', must: 200, goal: 120 };

test('a median is the value in the middle, whatever the order, and the mean of two', () => {
  assert.is(median([30, 10, 20]), 20);
  assert.is(median([4, 1, 3, 2]), 2.5);
  assert.is(median([7]), 7);
});

test('a median of nothing is no number', () => {
  assert.ok(Number.isNaN(median([])));
});

test('values are put in order as numbers, not as texts', () => {
  assert.is(median([9, 10, 100]), 10);
});

test('a median leaves its values as they are', () => {
  const values = [3, 1, 2];
  median(values);
  assert.equal(values, [3, 1, 2]);
});

test('a percentile is one of the values, the last one at most', () => {
  assert.is(percentile([5, 1, 4, 2, 3], 0.5), 3);
  assert.is(percentile([1, 2, 3], 0.99), 3);
  assert.is(percentile([1, 2, 3], 1), 3);
  assert.is(percentile([], 0.5), 0);
});

test('a bound is met by what reaches it, in the sense of its target', () => {
  assert.is(verdictOf(throughput, 1, { ratio: 1 }), 'met');
  assert.is(verdictOf(throughput, 1, { ratio: 0.999 }), 'not met');
  assert.is(verdictOf(throughput, 1, { ratio: 3 }), 'met');
  assert.is(verdictOf(latency, 200, { ms: 200 }), 'met');
  assert.is(verdictOf(latency, 200, { ms: 200.1 }), 'not met');
  assert.is(verdictOf(latency, 200, { ms: 3 }), 'met');
});

test('a figure that is missing, or is no number, is not met in either sense', () => {
  for (const row of [throughput, latency]) {
    assert.is(verdictOf(row, row.must, {}), 'not met');
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])
      assert.is(verdictOf(row, row.must, { [row.figure]: value }), 'not met');
  }
});

test('a run that measured nothing meets no target', () => {
  const lines = targetTable({}).slice(1);
  assert.is(lines.length, targets.length);
  for (const line of lines) assert.is(line.match(/not met/gu)?.length, 2, line);
});

test('a table has a line for each target with the verdict about must and about goal', () => {
  const [first] = targets;
  const between = { [first?.figure ?? '']: 1.2 };
  assert.match(targetTable(between)[1] ?? '', /^Decrypt at 64, of raw +1\.20 +≥ 1\.00 +met +≥ 1\.50 +not met$/u);
});

test('no goal is easier than its must', () => {
  const easier = targets.filter(({ sense, must, goal }) => (sense === 'at least' ? goal < must : goal > must));
  assert.equal(easier, []);
});

function costed(perSecond: number, p50Ms: number, pluginUs: number): Costed {
  const rest = { seconds: 1, served: perSecond, p99Ms: p50Ms, failed: 1, errors: {}, longestGapMs: 0 };
  return { ...rest, perSecond, p50Ms, us: { supervisor: 1, plugin: pluginUs } };
}

/** The machine is slower from round to round, for both alike; in the second one something happened to the provider alone. */
const rounds: Rounds = new Map([
  ['raw-decrypt 64', [costed(4_000, 1, 0), costed(2_000, 2, 0), costed(1_000, 4, 0)]],
  ['decrypt 64', [costed(2_000, 1.5, 500), costed(600, 4, 900), costed(500, 4.5, 480)]],
]);

test('a ratio is made within a round: a slow round is slow for both', () => {
  const figures = figuresOfCalls(rounds);
  assert.is(figures['decrypt_64_of_raw'], 0.5);
  assert.is(figures['decrypt_64_p50_above_raw_ms'], 0.5);
  assert.is(figures['decrypt_64_plugin_us'], 500);
  assert.is(figures['raw_decrypt_64_per_second'], 2_000);
});

test('failed calls are summed, and nothing is said of what was not measured', () => {
  const figures = figuresOfCalls(rounds);
  assert.is(figures['decrypt_64_failed'], 3);
  assert.is(figures['encrypt_64_of_raw'], undefined);
  assert.is(figures['raw_decrypt_64_plugin_us'], undefined);
});

test('without the raw calls beside it a call has no ratio', () => {
  const alone: Rounds = new Map([...rounds].filter(([key]) => key === 'decrypt 64'));
  assert.is(figuresOfCalls(alone)['decrypt_64_of_raw'], undefined);
});

test('columns are as wide as their widest text', () => {
  assert.equal(
    table(
      ['', 'n'],
      [
        ['one', '1'],
        ['thirteen', '1000'],
      ],
    ),
    ['             n', 'one          1', 'thirteen  1000'],
  );
});

test('options: a number that is none, and a word that nobody knows, are refused', () => {
  assert.is(readOptions([]).rounds, 3);
  assert.is(readOptions(['--rounds', '5', '--json']).rounds, 5);
  for (const words of [['--rounds', '0'], ['--seconds', 'x'], ['--million']]) assert.throws(() => readOptions(words));
});

test('docs/performance.md names every target with its must and its goal', () => {
  const text = readFileSync(new URL('../../docs/performance.md', import.meta.url), 'utf8');
  // The columns of figures that were measured may be narrower or wider there.
  const flat = (line: string) => line.replace(/ +/gu, ' ');
  const bounds = ({ sense, must, goal, digits, unit }: TargetRow) => {
    const sign = sense === 'at least' ? '≥' : '≤';
    return [must, goal].map((value) => `${sign} ${value.toFixed(digits)}${unit === '' ? '' : ` ${unit}`}`);
  };
  const missing = targets.filter((target) => {
    const line = text.split('\n').find((one) => one.startsWith(target.title));
    return line === undefined || bounds(target).some((bound) => !flat(line).includes(bound));
  });
  assert.equal(missing, []);
});

test.run();
