import type { Mutation } from '../run.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'cached Status has no staleness bound',
    edits: [
      {
        file: 'plugin/health/verdict.ts',
        at: 'control: verdict.stale',
        find: 'limits.statusMaxStalenessMs',
        replace: 'limits.statusMaxStalenessMs * 1e9',
      },
    ],
  },
];
