import type { Mutation } from '../run.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'the seed is written to the log',
    edits: [
      {
        file: 'plugin/kms/kms.ts',
        at: 'control: encrypt.noted-healthz',
        find: 'view.healthz',
        replace: "request.plaintext.toString('base64')",
      },
    ],
  },
];
