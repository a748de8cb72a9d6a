import type { Mutation } from '../run.ts';

const file = 'supervisor/custody/socket.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'what is no socket counts as dead',
    edits: [{ file, at: 'control: socket.only-sockets', find: '!stats.isSocket()', replace: 'stats.size < 0' }],
  },
  {
    name: 'a live socket counts as dead',
    edits: [{ file, at: 'control: socket.live', find: "'live'", replace: "'dead'" }],
  },
  {
    name: 'the name is removed blindly',
    edits: [{ file, at: 'control: socket.remove-own', find: 'if (isOurs()) ', replace: '' }],
  },
  {
    name: 'the socket is not given to its group',
    needsRoot: true,
    edits: [{ file, at: 'control: socket.mode', replace: '' }],
  },
  {
    name: 'the mode of the directory is not checked',
    edits: [
      {
        file: 'supervisor/custody/pinned-directory.ts',
        at: 'control: pinned-directory.mode',
        find: '(stats.mode & 0o022) !== 0',
        replace: 'stats.mode < 0',
      },
    ],
  },
];
