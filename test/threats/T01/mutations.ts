import type { Mutation } from '../run.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'the configuration writes with identity first',
    needsKubernetes: true,
    edits: [
      {
        file: 'test/threats/T01/attack.test.ts',
        at: 'control: encryption-config.order',
        find: "'kms', 'identity'",
        replace: "'identity', 'kms'",
      },
    ],
  },
];
