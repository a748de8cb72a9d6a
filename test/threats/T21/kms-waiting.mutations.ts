import type { Mutation } from '../run.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'any number of annotations',
    edits: [
      { file: 'plugin/kms/limits.ts', find: 'annotations.size > maxAnnotations', replace: 'annotations.size < 0' },
    ],
  },
  {
    name: 'annotations of any size',
    edits: [
      {
        file: 'plugin/kms/limits.ts',
        find: 'value.length <= maxAnnotationValueBytes',
        replace: 'value.length >= 0',
      },
    ],
  },
  {
    name: 'retained bytes are not counted',
    edits: [
      {
        file: 'plugin/kms/kms.ts',
        find: 'context.retained.take(call.connection, request.sizeBytes',
        replace: 'context.retained.take(call.connection, 0 * request.sizeBytes',
      },
    ],
  },
  {
    name: 'the greedy one makes no room',
    edits: [
      {
        file: 'plugin/kms/fair-share.ts',
        find: 'return isFair ? greatest.newest : undefined',
        replace: 'return isFair ? undefined : undefined',
      },
    ],
  },
  {
    name: 'first come, first served, whoever it is',
    edits: [
      {
        file: 'plugin/kms/decrypt-queue.ts',
        find: 'if (running >= fewest) continue;',
        replace: 'if (next !== undefined) continue;',
      },
    ],
  },
];
