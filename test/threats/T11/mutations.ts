import type { Mutation } from '../run.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'received values are trusted',
    edits: [
      {
        file: 'plugin/key-service.ts',
        find: '  checkAnnotations(parseSound(request), snapshot);',
        replace: '  parseSound(request);',
      },
    ],
  },
  {
    name: 'doubled annotations are not noticed',
    edits: [
      {
        file: 'plugin/kms/codec.ts',
        find: 'hasDuplicates = decode(bytes, countAnnotations) !== request.annotations.size',
        replace: 'hasDuplicates = decode(bytes, countAnnotations) < 0',
      },
    ],
  },
];
