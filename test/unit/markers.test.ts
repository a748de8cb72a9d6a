// Markers: a place is found by its name, whatever else changes in the file, and a marker that is gone or stands twice is an error.
// Those of the sources are the ones that the mutants, the mutations of the threats and of the exploration, and the crash steps name, no
// more and no less.

import { readdirSync, readFileSync } from 'node:fs';
import { transform } from 'esbuild';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { planted } from '../explore/mutations.ts';
import { plantedTrials } from '../explore/trials-run.ts';
import { committing, replacing, saving, starting, stopping } from '../integration/crash-steps.ts';
import { mutants } from '../mutants/mutants.ts';
import { markersIn, withEdit, withStatement } from '../support/markers.ts';
import { type Mutation, mutationsOf, threatIds, threatParts } from '../threats/run.ts';

const source = [
  'function save() {',
  '  write(text); // step: file.write',
  '  // control: file.size',
  '  if (text.length > 10) {',
  '    // Told to whoever asks.',
  '    refuse(text.length);',
  '  }',
  '}',
].join('\n');
const write = { file: 'save.ts', at: 'step: file.write' };
const size = { file: 'save.ts', at: 'control: file.size' };
const after = (text: string) => text.split('\n').map((line) => line.trim());

test('a marker at the end of a line means that line, one alone the line after it', () => {
  assert.is(after(withEdit(source, { ...write, replace: 'skip();' }))[1], 'skip();');
  assert.is(after(withEdit(source, { ...size, find: '> 10', replace: '> 11' }))[3], 'if (text.length > 11) {');
});

test('two markers, one before the line and one at its end, mean the same line', () => {
  const both = source.replace('  write(text);', '  // control: file.text\n  write(text);');
  for (const at of ['control: file.text', 'step: file.write']) {
    assert.is(after(withEdit(both, { file: 'save.ts', at, replace: '' }))[2], '');
  }
});

test('a statement comes before the line of a place, or after it', () => {
  assert.equal(after(withStatement(source, write, 'before', 'crash();')).slice(1, 3), ['crash();', 'write(text);']);
  assert.equal(after(withStatement(source, write, 'after', 'crash();')).slice(1, 3), ['write(text);', 'crash();']);
});

test('a text that stands elsewhere too is changed in the line of the place only', () => {
  const changed = withEdit(source, { ...write, find: 'text', replace: 'other' });
  assert.is(changed, source.replace('write(text); // step: file.write', 'write(other);'));
});

test('a change elsewhere in the file moves no place', () => {
  const changed = source.replace('refuse(text.length)', 'refuse()').replace('{', '{\n  write(text);\n');
  assert.match(withEdit(changed, { ...write, replace: 'skip();' }), 'write(text);\n\n  skip();');
});

test('a marker that was removed, renamed or doubled is an error that names it', () => {
  const edit = { ...write, replace: '' };
  const gone = source.replace(' // step: file.write', '');
  assert.throws(() => withEdit(gone, edit), /"\/\/ step: file\.write" stands 0 times in save\.ts/u);
  assert.throws(() => withStatement(gone, write, 'after', 'crash();'), /stands 0 times in save\.ts/u);
  assert.throws(() => withEdit(source.replace('file.write', 'file.writes'), edit), /stands 0 times/u);
  assert.throws(() => withEdit(`${source}\nwrite(); // step: file.write`, edit), /stands 2 times/u);
});

test('a marker that marks nothing is an error', () => {
  assert.throws(() => withEdit('write();\n// step: file.write\n', { ...write, replace: 'skip();' }), /marks no line/u);
});

test('an edit that changes nothing, or not one place of its line, is an error', () => {
  assert.throws(() => withEdit(source, { ...write, find: 'absent', replace: '' }), /"absent" stands 0 times/u);
  assert.throws(() => withEdit(source, { ...write, find: 't', replace: 'T' }), /"t" stands 3 times/u);
  assert.throws(() => withEdit(source, { ...write, replace: 'write(text);' }), /nothing changes/u);
  assert.throws(() => withEdit(source, { ...write, find: 'file.write', replace: 'x' }), /stands 0 times/u);
});

test('each marker of a source is listed as often as it stands there', () => {
  assert.equal(markersIn(`${source}\nwrite(); // step: file.write`), [write.at, size.at, write.at]);
  assert.equal(markersIn('// A comment about a step: none.\nconst text = "// step:";'), []);
});

const root = new URL('../..', import.meta.url).pathname;
const steps = [starting, committing, saving, replacing, stopping].flat();

const ofThreats = await Promise.all(threatParts(threatIds()).map(mutationsOf));
const mutations: readonly Mutation[] = [...ofThreats.flat(), ...planted, ...plantedTrials];
const edits = mutations.flatMap((mutation) => mutation.edits);

/** Every file of ours, but the ones that speak about markers. */
const files = ['plugin', 'shared', 'supervisor', 'deploy', 'test/support', 'test/threats'].flatMap((folder) =>
  readdirSync(root + folder, { recursive: true, encoding: 'utf8' }).map((name) => `${folder}/${name}`),
);

test('each marker stands there once and is named by a mutant, a mutation or a crash step', () => {
  const standing = files
    .filter((file) => file.endsWith('.ts'))
    .flatMap((file) => markersIn(readFileSync(root + file, 'utf8')).map((at) => `${file} ${at}`));
  const named = new Set([...steps, ...mutants, ...edits].map(({ file, at }) => `${file} ${at}`));
  assert.equal(standing.sort(), [...named].sort());
  const names = standing.map((place) => place.split(' ').slice(1).join(' '));
  assert.equal(
    names.filter((name, index) => names.indexOf(name) !== index),
    [],
  );
});

/** The files of a mutation as it changes them. @throws Error when an edit does not find its place, once */
function changedFiles({ edits }: Mutation): Map<string, string> {
  const changed = new Map<string, string>();
  for (const edit of edits) {
    changed.set(edit.file, withEdit(changed.get(edit.file) ?? readFileSync(root + edit.file, 'utf8'), edit));
  }
  return changed;
}

test('each mutation of a threat and of the exploration finds its places, changes them, and can be parsed', async () => {
  const problems = await Promise.all(
    mutations.map(async (mutation) => {
      try {
        const parse = (text: string) => transform(text, { loader: 'ts', logLevel: 'silent' });
        await Promise.all([...changedFiles(mutation).values()].map(parse));
        return [];
      } catch (error) {
        return [`${mutation.name}: ${error instanceof Error ? error.message : error}`];
      }
    }),
  );
  assert.equal(problems.flat(), []);
});

test('there are at least 131 mutations', () => {
  assert.ok(mutations.length >= 131);
});

test('a process is killed at fifty-three steps, none twice in one way', () => {
  assert.is(steps.length, 53);
  const ways = [starting, committing, saving, replacing, stopping].flatMap((group, index) =>
    group.map(({ at, side }) => `${index} ${at} ${side}`),
  );
  assert.is(new Set(ways).size, steps.length);
});

test.run();
