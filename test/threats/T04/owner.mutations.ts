import type { Mutation } from '../run.ts';

const file = 'supervisor/custody/trusted-file.ts';
const change = (name: string, what: string, find: string, replace: string): Mutation => ({
  name,
  edits: [{ file, at: `control: trusted-file.${what}`, find, replace }],
  needsRoot: true,
});

export const mutations: readonly Mutation[] = [
  change(
    'the owner of a directory does not count',
    'ancestor-owner',
    'stats.uid !== 0 && stats.uid !== reader.uid',
    'stats.uid < reader.uid && stats.uid < 0',
  ),
  change(
    'the owner of a link does not count',
    'link-owner',
    'checkAncestor(',
    'if (!stats.isSymbolicLink()) checkAncestor(',
  ),
  change(
    'only the directories that the links lead to count',
    'links-walked',
    'dirname(path)',
    "process.getBuiltinModule('node:fs').realpathSync(dirname(path))",
  ),
];
