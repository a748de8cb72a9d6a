import type { Mutation } from '../run.ts';

const file = 'supervisor/custody/socket.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'what is no socket counts as dead',
    edits: [{ file, find: '  if (!stats.isSocket()) {', replace: '  if (stats.size < 0) {' }],
  },
  { name: 'a live socket counts as dead', edits: [{ file, find: "settle('live')", replace: "settle('dead')" }] },
  {
    name: 'the name is removed blindly',
    edits: [{ file, find: '      if (isOurs()) unlinkSync', replace: '      unlinkSync' }],
  },
  {
    name: 'the socket is not given to its group',
    needsBuild: true,
    needsRoot: true,
    edits: [{ file, find: 'chmodSync(privatePath, options.mode);', replace: '' }],
  },
  {
    name: 'the mode of the directory is not checked',
    edits: [
      { file: 'supervisor/custody/pinned-directory.ts', find: '(stats.mode & 0o022) !== 0', replace: 'stats.mode < 0' },
    ],
  },
];
