// What the flags of the commands about versions may be; all of it is judged before anything is read or started.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseArguments } from '../../../../supervisor/arguments.ts';
import type { CommandDeps } from '../../../../supervisor/commands/command.ts';
import { applyOf, beforeVersionOf, selectorsOf, versionsOf } from '../../../../supervisor/commands/flag-values.ts';
import { commands } from '../../../../supervisor/commands/table.ts';
import { rejectsClass, throwsClass } from '../../../support/throws.ts';

const noDeps = {} as CommandDeps;
const hash = `krs1.${'A'.repeat(43)}`;

for (const words of [
  ['retire-versions'],
  ['retire-versions', '--before-version', '1'],
  ['retire-versions', '--before-version', '2x'],
  ['retire-versions', '--before-version', '2', '--apply'],
  ['retire-versions', '--before-version', '2', '--apply', '--expected-state-hash', 'krs1.short'],
  ['retire-versions', '--before-version', '2', '--expected-state-hash', `krs1.${'A'.repeat(43)}`],
  ['restore-versions'],
  ['restore-versions', '--versions', '1,,2'],
  ['restore-versions', '--versions', '0'],
  ['forget-versions', '--versions', 'A'.repeat(43)],
]) {
  test(`the command line "${words.join(' ')}" is a usage error of the command`, async () => {
    const invocation = parseArguments(words, {}, '/');
    const { run } = await commands[invocation.name].load();
    await rejectsClass((async () => run(invocation, noDeps))(), 'usage_invalid');
  });
}

test('versions, hashes, and the state of a plan that was reviewed are read from their flags', () => {
  const retire = parseArguments(
    ['retire-versions', '--before-version', '3', '--apply', '--expected-state-hash', hash],
    {},
    '/',
  );
  assert.is(beforeVersionOf(retire.flags), 3);
  assert.equal(applyOf(retire.flags), { expectedStateHash: hash });
  const restore = parseArguments(['restore-versions', '--versions', '1, 2', '--output', ' JSON '], {}, '/');
  assert.equal(selectorsOf(restore.flags), ['1', '2']);
  assert.equal(versionsOf(restore.flags), [1, 2]);
  assert.is(applyOf(restore.flags), undefined);
  assert.is(restore.output, 'json');
});

test('a version has one to ten digits of any kind', () => {
  for (const version of ['2', '9', '10', '37', '9999999999']) {
    assert.is(beforeVersionOf({ 'before-version': version }), Number(version));
  }
  for (const version of ['0', '02', '10000000000', '-2', '']) {
    throwsClass(() => beforeVersionOf({ 'before-version': version }), 'usage_invalid');
  }
  const selector = 'A-_z'.repeat(11).slice(0, 43);
  assert.equal(selectorsOf({ versions: `98, ${selector}` }), ['98', selector]);
});

test.run();
