import type { Mutation } from '../run.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'only versions are compared, not when they were made',
    needsBuild: true,
    edits: [
      {
        file: 'plugin/keys/profile.ts',
        find: '  if (createdAtUnix !== recordedAtUnix) {',
        replace: '  if (createdAtUnix < 0) {',
      },
    ],
  },
];
