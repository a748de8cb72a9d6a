import type { Mutation } from '../run.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'the seed is written to the log',
    needsBuild: true,
    edits: [
      {
        file: 'plugin/kms/kms.ts',
        find: '    noted.healthz = view.healthz;',
        replace: "    noted.healthz = request.plaintext.toString('base64');",
      },
    ],
  },
];
