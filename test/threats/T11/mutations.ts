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
    name: 'annotations that look like ours are not compared',
    edits: [
      {
        file: 'plugin/keys/annotations.ts',
        at: 'control: annotations.true',
        find: 'annotations.get(name) !== truth',
        replace: '!annotations.has(name)',
      },
    ],
  },
  {
    name: 'an annotation may be missing',
    edits: [
      {
        file: 'plugin/keys/annotations.ts',
        at: 'control: annotations.complete',
        replace: 'for (const name of annotations.keys()) if (truths.has(name)) return true;',
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
