import type { Mutation } from '../run.ts';

const connections = 'plugin/kms/connections.ts';
const halfOpen = 'plugin/kms/half-open.ts';
const guard = 'plugin/kms/guard.ts';
const server = 'plugin/kms/server.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'any number of connections',
    edits: [{ file: connections, at: 'control: connections.max', find: '< maxConnections', replace: '>= 0' }],
  },
  {
    name: 'connections that are never used keep their places',
    edits: [
      {
        file: connections,
        at: 'control: connections.unused',
        find: 'this.#idlest(false, unusedConnectionMs) ?? ',
        replace: '',
      },
    ],
  },
  {
    name: 'half-open calls are not counted',
    edits: [{ file: halfOpen, at: 'control: half-open.max-bytes', find: '> maxHalfOpenBytes', replace: '< 0' }],
  },
  {
    name: 'the oldest goes, whoever holds most',
    edits: [
      {
        file: halfOpen,
        at: 'control: half-open.greatest',
        find: 'holder.sizeBytes > greatest.sizeBytes',
        replace: 'false',
      },
    ],
  },
  {
    name: 'the parts of a body are not counted',
    edits: [{ file: guard, at: 'control: guard.body-parts', replace: '' }],
  },
  {
    name: 'a body may come at any time',
    edits: [{ file: halfOpen, at: 'control: half-open.body-late', replace: 'return;' }],
  },
  {
    name: 'an answer that nobody takes costs nothing',
    edits: [{ file: server, at: 'control: server.answer-pending', replace: '' }],
  },
  {
    name: 'an idle connection stays',
    edits: [{ file: connections, at: 'control: connections.goodbye', replace: '' }],
  },
  {
    name: 'a slot is taken when the body is there',
    edits: [
      {
        file: server,
        at: 'control: server.slot-first',
        find: "method === 'decrypt'",
        replace: "method !== 'status' || stream !== undefined",
      },
    ],
  },
  {
    name: 'a half-open call keeps its slot',
    edits: [
      {
        file: 'plugin/kms/fair-share.ts',
        at: 'control: fair-share.always',
        find: 'greatest?.oldest',
        replace: 'undefined',
      },
    ],
  },
  {
    name: 'the limit of resets is the one of Node',
    edits: [
      { file: guard, at: 'control: guard.reset-burst', replace: '' },
      { file: guard, at: 'control: guard.reset-rate', replace: '' },
    ],
  },
  {
    name: 'the library ends a connection that gives up too many',
    edits: [{ file: connections, at: 'control: connections.resets', find: '<= maxResets', replace: '>= 0' }],
  },
];
