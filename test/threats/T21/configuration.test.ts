// T21 exhaustion, the configuration: whoever may write the file, by mistake too, takes neither a running provider nor a start's
// memory away. Each text is within the 1 MiB that a file may have.

import { spawnSync } from 'node:child_process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseYaml } from '../../../supervisor/gate/yaml.ts';
import { runCommand } from '../../support/command.ts';
import { withInstallation } from '../../support/installation.ts';
import { limitOf } from '../../support/patience.ts';
import { untilHealthy } from '../../support/provider.ts';

const keys = (count: number) => Array.from({ length: count }, (_, index) => `k${index}: 1`);
const sixtyThousandKeys = keys(60_000).join('\n');
const nested = (levels: number) => `${'{a: '.repeat(levels)}1${'}'.repeat(levels)}`;
const indented = (levels: number) =>
  Array.from({ length: levels }, (_, level) => `${' '.repeat(level)}a:`)
    .join('\n')
    .concat(' 1');

test('60 000 keys: a reload is refused within a second and harms no call, a start and `config check` end with exit 3', () =>
  withInstallation(async ({ start, workplace }) => {
    const provider = start();
    await untilHealthy(provider);
    const sealed = await provider.client.encrypt(Buffer.alloc(32, 1));
    const pid = provider.pluginPid();
    workplace.replaceFile(workplace.configPath, sixtyThousandKeys);
    const askedAtMs = performance.now();
    provider.child.kill('SIGHUP');
    const refusal = await provider.event('reload.refused', 1_000);
    assert.ok(performance.now() - askedAtMs < limitOf(1_000));
    assert.is(refusal['check'], 'gate.config');
    assert.match(String(refusal['hint']), /^config: has more than \d+ /u);
    await provider.client.decrypt(sealed);
    assert.is(provider.pluginPid(), pid);
    assert.is(provider.child.exitCode, null);
    await provider.stop();

    const second = start();
    assert.is(await second.exited, 3);
    const checked = await runCommand(workplace, 'config', 'check');
    assert.is(checked.code, 3);
    assert.match(checked.stdout, /config: has more than \d+ /u);
  }));

/** Refused by its own bound, and not by a rule about YAML. */
const excessive: readonly (readonly [string, string, string])[] = [
  ['2 001 keys in one map', keys(2_001).join('\n'), 'keys'],
  ['2 001 keys in brackets', `{${keys(2_001).join(', ')}}`, 'keys'],
  ['2 001 keys in JSON', JSON.stringify(Object.fromEntries(keys(2_001).map((key) => [key, 1]))), 'keys'],
  [
    '2 001 keys without a value',
    `{${keys(2_001)
      .map((key) => key.replace(': 1', ''))
      .join(',')}}`,
    'keys',
  ],
  ['2 001 keys in two maps', `a:\n ${keys(1_000).join('\n ')}\nb:\n ${keys(1_000).join('\n ')}`, 'keys'],
  ['2 001 entries of a list', '- a\n'.repeat(2_001), 'keys'],
  ['60 000 keys', sixtyThousandKeys, 'tokens'],
  ['17 levels in brackets', nested(17), 'depth'],
  ['17 levels of indentation', indented(17), 'depth'],
  ['17 levels of lists in one line', `${'- '.repeat(17)}a`, 'depth'],
  ['17 levels of keys that are maps', `${'? '.repeat(17)}a`, 'depth'],
  ['a million brackets', '['.repeat(1_000_000), 'tokens'],
  ['a million commas', `[${','.repeat(1_000_000)}`, 'tokens'],
  ['a million empty lines', '\n'.repeat(1_000_000), 'tokens'],
  ['250 000 documents', '---\n'.repeat(250_000), 'tokens'],
  ['a long value', `a: ${'x'.repeat(65_537)}`, 'scalar'],
  ['a long value in quotes', `a: "${'x'.repeat(65_537)}"`, 'scalar'],
  ['a long value of many lines', `a: |\n${' x\n'.repeat(30_000)}`, 'scalar'],
  ['a long tag', `!<${'a'.repeat(65_537)}> a`, 'scalar'],
  ['a long key', `${'x'.repeat(65_537)}: 1`, 'scalar'],
];

for (const [what, text, bound] of excessive) {
  test(`${what}: refused, by the bound \`${bound}\``, () => {
    const atMs = performance.now();
    const problems = problemsOf(text);
    assert.ok(performance.now() - atMs < limitOf(1_000));
    assert.equal(problems, [`config.config.${bound}`]);
  });
}

test('what is just within the bounds is read', () => {
  assert.is(Object.keys(parseYaml(Buffer.from(keys(2_000).join('\n'))) as object).length, 2_000);
  for (const text of [nested(16), indented(16), `a: ${'x'.repeat(65_536)}`]) assert.equal(problemsOf(text), []);
});

/** Each of them is small enough for every bound, and costs what the parser makes of it. */
const costly: readonly (readonly [string, string])[] = [
  ['commas in a bracket', `[${','.repeat(19_990)}`],
  ['closing brackets', ']'.repeat(19_990)],
  ['tags', '!a '.repeat(9_900)],
  ['anchors', '&a '.repeat(9_900)],
  ['directives', '%A\n'.repeat(9_900)],
  ['documents', '---\n'.repeat(9_900)],
  ['aliases of aliases', `a: &a [x, x, x]\n${bomb()}`],
  ['merge keys', `a: &a {x: 1}\n${Array.from({ length: 600 }, (_, index) => `m${index}: {<<: *a}`).join('\n')}`],
];

function bomb(): string {
  const names = [...'abcdefghijkl'];
  return names
    .slice(1)
    .map((name, index) => `${name}: &${name} [${Array(9).fill(`*${names[index]}`).join(', ')}]`)
    .join('\n');
}

for (const [what, text] of costly) {
  test(`many ${what}: refused with the supervisor's heap`, () => {
    const yaml = new URL('../../../supervisor/gate/yaml.ts', import.meta.url).href;
    const program = `import { text } from 'node:stream/consumers'; import { parseYaml } from '${yaml}';
      const document = Buffer.from(await text(process.stdin));
      try { parseYaml(document) } catch (error) { process.stdout.write(error.class) }`;
    // About half of the supervisor's: 32 MiB are enough, and with the parser's copies of the text these are not.
    const heap = [
      '--max-semi-space-size=1',
      '--max-old-space-size=36',
      '--no-warnings',
      '--input-type=module-typescript',
    ];
    const { stdout } = spawnSync(process.execPath, [...heap, '--eval', program], { input: text, encoding: 'utf8' });
    assert.is(stdout, 'config_invalid');
  });
}

function problemsOf(text: string): string[] {
  try {
    parseYaml(Buffer.from(text));
    return [];
  } catch (error) {
    return (error as { problems: { code: string }[] }).problems.map(({ code }) => code);
  }
}

test.run();
