import type { Mutation } from '../run.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'any number of annotations',
    edits: [
      {
        file: 'plugin/kms/limits.ts',
        at: 'control: limits.annotations',
        find: '> maxAnnotations',
        replace: '< 0',
      },
    ],
  },
  {
    name: 'annotations of any size',
    edits: [
      {
        file: 'plugin/kms/limits.ts',
        at: 'control: limits.annotation-value',
        find: '<= maxAnnotationValueBytes',
        replace: '>= 0',
      },
    ],
  },
  {
    name: 'retained bytes are not counted',
    edits: [
      {
        file: 'plugin/kms/kms.ts',
        at: 'control: decrypt.retained',
        find: 'request.sizeBytes',
        replace: '0 * request.sizeBytes',
      },
    ],
  },
  {
    name: 'the greedy one makes no room',
    edits: [
      {
        file: 'plugin/kms/fair-share.ts',
        at: 'control: fair-share.greatest-yields',
        find: 'greatest.newest',
        replace: 'undefined',
      },
    ],
  },
  {
    name: 'first come, first served, whoever it is',
    edits: [
      {
        file: 'plugin/kms/waiting-line.ts',
        at: 'control: decrypt.fewest-running',
        find: 'running > fewest',
        replace: 'next !== undefined',
      },
    ],
  },
];
