import type { Mutation } from '../run.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'an answer is parsed whatever it would become',
    edits: [
      {
        file: 'plugin/openbao/response.ts',
        find: '  if (containers > maxContainers || separators > maxSeparators) return undefined;\n',
        replace: '',
      },
    ],
  },
];
