import type { Mutation } from '../run.ts';

const file = 'supervisor/custody/state-store.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'a full file system refuses the start',
    edits: [{ file, at: 'control: state-store.full', replace: '' }],
  },
  {
    name: 'the next state is written before the checkpoint that is owed',
    edits: [{ file, at: 'control: state-store.owed-first', find: 'this.#isCheckpointOwed && ', replace: 'false && ' }],
  },
  {
    name: 'a read-only directory counts as full',
    edits: [
      {
        file,
        at: 'control: state-store.full-codes',
        find: "cause.code === 'EDQUOT'",
        replace: "cause.code !== 'ENOSPC'",
      },
    ],
  },
];
