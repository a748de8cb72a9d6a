import type { Mutation } from '../run.ts';

const file = 'supervisor/launch/child.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'only the plugin itself is ended',
    edits: [{ file, at: 'control: child.kill-group', find: '-pid', replace: 'pid' }],
  },
  {
    name: 'the end waits until nobody has the pipes any more',
    edits: [{ file, at: 'control: child.last-words', find: 'lastWordsMs', replace: '1_000 * lastWordsMs' }],
  },
];
