import type { Mutation } from '../run.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'what the mount would do is not looked at',
    edits: [
      {
        file: 'plugin/probes/probes.ts',
        at: 'control: probes.upsert',
        find: '!isUpsertDisabled',
        replace: 'isUpsertDisabled === undefined',
      },
    ],
  },
];
