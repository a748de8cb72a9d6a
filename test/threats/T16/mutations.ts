import type { Mutation } from '../run.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'cached Status has no staleness bound',
    needsBuild: true,
    edits: [
      {
        file: 'plugin/health/verdict.ts',
        find: 'metadata.goodAgeMs > limits.statusMaxStalenessMs',
        replace: 'metadata.goodAgeMs > limits.statusMaxStalenessMs * 1e9',
      },
    ],
  },
];
