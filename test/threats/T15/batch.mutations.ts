import type { Mutation } from '../run.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'answers are taken in the order in which they come',
    edits: [
      {
        file: 'plugin/transit/decrypt-batch.ts',
        at: 'control: batch.reference',
        find: "result['reference'] !== String(index)",
        replace: 'index < 0',
      },
    ],
  },
];
