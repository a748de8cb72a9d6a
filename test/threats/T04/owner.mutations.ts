import type { Mutation } from '../run.ts';

const file = 'supervisor/custody/trusted-file.ts';
const change = (name: string, find: string, replace: string): Mutation => ({
  name,
  edits: [{ file, find, replace }],
  needsRoot: true,
});

const start = 'checkAncestor(stats, rules, reader);\n    if (!stats.isSymbolicLink()) {';

export const mutations: readonly Mutation[] = [
  change(
    'the owner of a directory does not count',
    'function checkAncestor(stats: Stats, rules: FileRules, reader: Reader): void {\n  if (stats.uid !== 0 && stats.uid !== reader.uid)',
    'function checkAncestor(stats: Stats, rules: FileRules, reader: Reader): void {\n  if (stats.uid < reader.uid && stats.uid < 0)',
  ),
  change('the owner of a link does not count', start, `if (!stats.isSymbolicLink()) ${start}`),
  {
    name: 'only the directories that the links lead to count',
    edits: [
      { file, find: 'readlinkSync, readSync,', replace: 'readlinkSync, readSync, realpathSync,' },
      {
        file,
        find: 'const left = namesOf(dirname(path));',
        replace: 'const left = namesOf(realpathSync(dirname(path)));',
      },
    ],
    needsRoot: true,
  },
];
