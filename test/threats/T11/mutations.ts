import type { Mutation } from '../run.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'received values are trusted',
    edits: [
      {
        file: 'plugin/key-service.ts',
        at: 'control: key-service.annotations',
        replace: 'parseSound(request);',
      },
    ],
  },
  {
    name: 'doubled annotations are not noticed',
    edits: [
      {
        file: 'plugin/kms/codec.ts',
        at: 'control: codec.annotation-twice',
        find: '!== request.annotations.size',
        replace: '< 0',
      },
    ],
  },
];
