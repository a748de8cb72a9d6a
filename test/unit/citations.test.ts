// What a comment cites is in the repository: a section of a page as `(spec/state 3.1)`, or a page by its path. Reads the comments of all
// sources; a number without a page leads nowhere.

import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

const root = new URL('../..', import.meta.url).pathname;

/** Page, as a comment names it, → numbers of its sections. */
type Pages = ReadonlyMap<string, ReadonlySet<string>>;

function numbersIn(page: string): readonly string[] {
  return [...page.matchAll(/^### ([0-9]+\.[0-9]+) \S/gmu)].map(([, number]) => number ?? '');
}

const pageTexts = new Map(
  readdirSync(`${root}docs/spec`)
    .filter((name) => name.endsWith('.md') && name !== 'README.md')
    .map((name) => [`spec/${name.replace(/\.md$/u, '')}`, readFileSync(`${root}docs/spec/${name}`, 'utf8')]),
);
const pages: Pages = new Map([...pageTexts].map(([page, text]) => [page, new Set(numbersIn(text))]));

/** Of a page of docs/, which has no numbers: to cite one of them is to cite nothing. */
const unnumbered = readdirSync(`${root}docs`)
  .filter((name) => name.endsWith('.md'))
  .map((name) => name.replace(/\.md$/u, ''));

/** The comments of a source, each on one line. In other files than TypeScript and Go everything counts. */
function commentsOf(file: string, text: string): string {
  if (!/\.(?:ts|go)$/u.test(file)) return text;
  const comments = text.match(/\/\*[\s\S]*?\*\/|(?:(?:^|(?<=\s))\/\/.*\n?[ \t]*)+/gmu) ?? [];
  return comments.map((comment) => comment.replace(/\s*\n\s*(?:\*(?!\/)|\/\/)?[ \t]*/gu, ' ')).join('\n');
}

const section = String.raw`[0-9]{1,2}(?:\.[0-9]+)*`;
const forms = {
  spec: new RegExp(String.raw`(?<!docs/)\b(spec/[\w-]+)(?: (${section}))?`, 'gu'),
  file: /\bdocs\/[\w./-]*\w/gu,
  /** `(word 3)`, `(word 3.1, …)`, `in the order of word 3.1`: a page that has no name of ours. */
  bare: new RegExp(String.raw`(?:\(|\b)(?<![\w/.-])([a-z][a-z0-9-]+) (${section})(?![\w%-]|[.:][0-9])`, 'gu'),
  see: /@see (\S+)(?: (\S+))?/gu,
};
/** What is numbered and is no page. */
const measures =
  /^(?:about|after|at|below|between|by|every|for|from|in|is|least|most|of|or|over|than|the|to|until|was)$/u;

/** What is wrong with the citations of a source, one line each. */
function problemsOf(comments: string, known: Pages): string[] {
  const cited = [...comments.matchAll(forms.spec)].flatMap(([all, page = '', number = '']) =>
    known.get(page)?.has(number) === true ? [] : [`${all}: no such section`],
  );
  const files = [...comments.matchAll(forms.file)].flatMap(([path]) =>
    existsSync(`${root}${path}`) ? [] : [`${path}: no such page`],
  );
  const bare = [...comments.matchAll(forms.bare)].flatMap(([all, word = '', number = '']) => {
    const isCited = all.startsWith('(') || number.includes('.') || unnumbered.includes(word);
    return isCited && !measures.test(word) ? [`${all}: a number without a page of docs/`] : [];
  });
  const seen = [...comments.matchAll(forms.see)].flatMap(([all, what = '', next = '']) =>
    known.has(what) || what === 'RFC' || /^v[0-9]/u.test(next)
      ? []
      : [`${all}: neither a page nor a published standard`],
  );
  return [...cited, ...files, ...bare, ...seen];
}

function sources(): readonly string[] {
  const where = ['.ci', 'deploy', 'plugin', 'proto', 'shared', 'supervisor', 'test'];
  const options = { cwd: root, encoding: 'utf8' } as const;
  const listed = execFileSync(
    'git',
    ['ls-files', '--cached', '--others', '--exclude-standard', '--', ...where],
    options,
  );
  // This file tells examples that lead nowhere.
  const isRead = (file: string) => file !== 'test/unit/citations.test.ts' && existsSync(`${root}${file}`);
  return listed.split('\n').filter((file) => /\.(?:ts|go|proto|service|conf|sh)$|^\.ci\//u.test(file) && isRead(file));
}

test('every citation in a comment leads to a section or a page that is there', () => {
  const problems = sources().flatMap((file) => {
    const comments = commentsOf(file, readFileSync(`${root}${file}`, 'utf8'));
    return problemsOf(comments, pages).map((problem) => `${file}: ${problem}`);
  });
  assert.equal(problems, []);
});

test('the pages cite each other and themselves as truly', () => {
  const problems = [...pageTexts].flatMap(([page, text]) => {
    const own = [...text.matchAll(/\(([0-9]+\.[0-9]+)\)/gu)].map(([, number]) => number ?? '');
    const lost = own.filter((number) => pages.get(page)?.has(number) !== true).map((number) => `(${number})`);
    const cited = [...text.matchAll(forms.spec)].filter(
      ([, to = '', number = '']) => pages.get(to)?.has(number) !== true,
    );
    return [...lost, ...cited.map(([all]) => all)].map((what) => `${page}: ${what}`);
  });
  assert.equal(problems, []);
});

test('a page has each number once, in ascending order', () => {
  for (const [page, text] of pageTexts) {
    const numbers = numbersIn(text);
    const key = (number: string) => Number(number.split('.')[0]) * 1_000 + Number(number.split('.')[1]);
    const ascending = [...new Set(numbers)].sort((one, other) => key(one) - key(other));
    assert.equal(numbers, ascending, page);
    assert.ok(numbers.length > 0, page);
  }
});

test('docs/spec/README.md lists every page', () => {
  const index = readFileSync(`${root}docs/spec/README.md`, 'utf8');
  const listed = [...index.matchAll(/^\| \[([a-z-]+)\]\(\1\.md\)/gmu)].map(([, name]) => `spec/${name}`);
  assert.equal(listed.sort(), [...pages.keys()].sort());
});

const some: Pages = new Map([['spec/state', new Set(['1.1', '4.5'])]]);
const judged: readonly (readonly [source: string, count: number])[] = [
  ['// It is kept (spec/state 4.5).\n', 0],
  ['/**\n * It is kept\n * (spec/state\n * 4.5).\n */', 0],
  ['// See docs/limits.md for the bound.\n', 0],
  ['/** @see RFC 7519, 2: NumericDate */', 0],
  ["const text = '(registry-state 6.3)';\n", 0],
  ['// Waits (about 3 s), at most 2.5 times.\n', 0],
  ['// A section that is not there (spec/state 9.9).\n', 1],
  ['// No number (spec/state).\n', 1],
  ['// A group of sections (spec/state 4).\n', 1],
  ['// A page that is not there (spec/nowhere 1.1).\n', 1],
  ['// The second is wrong (spec/state 1.1, spec/state 1.2).\n', 1],
  ['// See docs/nowhere.md.\n', 1],
  ['// Without a page (registry-state 6.3).\n', 1],
  ['// Without a page (rotation 7).\n', 1],
  ['// In the order of wire-format 4.5.\n', 1],
  ['// Over two\n// lines (registry-state\n// 6.3).\n', 1],
  ['/** @see kms-v2 contract: the chain decides */', 1],
];
for (const [source, count] of judged) {
  test(`${count === 0 ? 'leads somewhere' : 'leads nowhere'}: ${JSON.stringify(source)}`, () => {
    assert.is(problemsOf(commentsOf('a.ts', source), some).length, count);
  });
}

test.run();
