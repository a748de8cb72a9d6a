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
  {
    name: 'each part of an answer is kept as an object of its own',
    edits: [
      {
        file: 'plugin/http/connection.ts',
        find: '      if (sizeBytes > this.#body.length) this.#grow(sizeBytes, maxBytes);\n      chunk.copy(this.#body, this.#sizeBytes);\n',
        replace: '      this.#parts.push(chunk);\n',
      },
      {
        file: 'plugin/http/connection.ts',
        find: '  #body = Buffer.alloc(0);\n',
        replace: '  #body = Buffer.alloc(0);\n  readonly #parts: Buffer[] = [];\n',
      },
      {
        file: 'plugin/http/connection.ts',
        find: 'this.#body.subarray(0, this.#sizeBytes)',
        replace: 'Buffer.concat(this.#parts)',
      },
    ],
  },
];
