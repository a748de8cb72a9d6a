import type { Mutation } from '../run.ts';

const file = 'shared/registry/pair.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'the checkpoint is compared by generation only',
    edits: [{ file, at: 'control: pair.same-generation', replace: '' }],
  },
  {
    name: 'a successor need not name its predecessor',
    edits: [{ file, at: 'control: pair.predecessor', replace: '' }],
  },
];
