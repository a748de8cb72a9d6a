import type { Mutation } from '../run.ts';

const connections = 'plugin/kms/connections.ts';
const halfOpen = 'plugin/kms/half-open.ts';
const guard = 'plugin/kms/guard.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'any number of connections',
    edits: [
      {
        file: connections,
        find: '    if (this.#states.size < maxConnections) return true;',
        replace: '    if (this.#states.size >= 0) return true;',
      },
    ],
  },
  {
    name: 'connections that are never used keep their places',
    edits: [{ file: connections, find: 'this.#idlest(false, unusedConnectionMs) ?? ', replace: '' }],
  },
  {
    name: 'half-open calls are not counted',
    edits: [{ file: halfOpen, find: 'this.#sizeBytes > maxHalfOpenBytes', replace: 'this.#sizeBytes < 0' }],
  },
  {
    name: 'the oldest goes, whoever holds most',
    edits: [{ file: halfOpen, find: 'holder.sizeBytes > greatest.sizeBytes', replace: 'false' }],
  },
  {
    name: 'the parts of a body are not counted',
    edits: [{ file: guard, find: '    grew(copy.length);\n', replace: '' }],
  },
  {
    name: 'a body may come at any time',
    edits: [{ file: halfOpen, find: '        leave();\n        late();\n', replace: '' }],
  },
  {
    name: 'an answer that nobody takes costs nothing',
    edits: [
      {
        file: 'plugin/kms/server.ts',
        find: '    sendMessage: (message, pass) => {\n      stream.answered();\n',
        replace: '    sendMessage: (message, pass) => {\n',
      },
    ],
  },
  {
    name: 'an idle connection stays',
    edits: [{ file: connections, find: '      state.sayGoodbye();\n', replace: '' }],
  },
  {
    name: 'a slot is taken when the body is there',
    edits: [
      {
        file: 'plugin/kms/server.ts',
        find: "method === 'decrypt' ? undefined : desk",
        replace: "method !== 'status' || stream !== undefined ? undefined : desk",
      },
    ],
  },
  {
    name: 'a half-open call keeps its slot',
    edits: [
      {
        file: 'plugin/kms/fair-share.ts',
        find: "yields === 'always') return greatest?.oldest",
        replace: "yields === 'always') return undefined",
      },
    ],
  },
  {
    name: 'the limit of resets is the one of Node',
    edits: [
      {
        file: guard,
        find: '  streamResetBurst: 2 * maxResets,\n  streamResetRate: 2 * resetsPerSecond,\n',
        replace: '',
      },
    ],
  },
  {
    name: 'the library ends a connection that gives up too many',
    edits: [{ file: connections, find: 'state.resets <= maxResets', replace: 'state.resets >= 0' }],
  },
];
