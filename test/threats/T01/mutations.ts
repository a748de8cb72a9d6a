import { hasKubernetes } from '../../support/kubernetes-binaries.ts';
import type { Mutation } from '../run.ts';

/** Without an API server the attack is skipped, so nothing could notice. */
export const mutations: readonly Mutation[] = !hasKubernetes()
  ? []
  : [
      {
        name: 'the configuration writes with identity first',
        edits: [
          {
            file: 'test/threats/T01/attack.test.ts',
            find: "const order = ['kms', 'identity'] as const;",
            replace: "const order = ['identity', 'kms'] as const;",
          },
        ],
      },
    ];
