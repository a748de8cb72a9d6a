import type { Mutation } from '../run.ts';

const connection = 'plugin/http/connection.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'an answer is parsed whatever it would become',
    edits: [{ file: 'plugin/openbao/response.ts', at: 'control: answer.structure', replace: '' }],
  },
  {
    name: 'each part of an answer is kept as an object of its own',
    edits: [
      { file: connection, at: 'control: answer.body', find: ';', replace: '; readonly #parts: Buffer[] = [];' },
      { file: connection, at: 'control: answer.grow', replace: '' },
      {
        file: connection,
        at: 'control: answer.copy',
        find: 'chunk.copy(this.#body, this.#sizeBytes)',
        replace: 'this.#parts.push(chunk)',
      },
      {
        file: connection,
        at: 'control: answer.whole',
        find: 'this.#body.subarray(0, this.#sizeBytes)',
        replace: 'Buffer.concat(this.#parts)',
      },
    ],
  },
];
