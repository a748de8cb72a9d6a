import type { Mutation } from '../run.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'only versions are compared, not when they were made',
    edits: [
      {
        file: 'plugin/keys/profile.ts',
        at: 'control: profile.created-at',
        find: '!== recordedAtUnix',
        replace: '< 0',
      },
    ],
  },
];
