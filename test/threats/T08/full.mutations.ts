import type { Mutation } from '../run.ts';

const file = 'supervisor/custody/state-store.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'a full file system refuses the start',
    edits: [{ file, find: 'if (isFileSystemFull(error)) return false;', replace: '' }],
  },
  {
    name: 'the next state is written before the checkpoint that is owed',
    edits: [{ file, find: 'if (this.#isCheckpointOwed && this.#current !== undefined)', replace: 'if (false)' }],
  },
  {
    name: 'a read-only directory counts as full',
    edits: [{ file, find: "cause.code === 'EDQUOT'", replace: "cause.code !== 'ENOSPC'" }],
  },
];
