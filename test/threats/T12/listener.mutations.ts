import type { Mutation } from '../run.ts';

const look = 'supervisor/custody/listener-look.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'nobody looks whether the socket was shut down',
    needsRoot: true,
    edits: [{ file: look, at: 'control: listener-look.socket', find: "'refused'", replace: "'other'" }],
  },
  {
    name: 'nobody looks at the socket under a plugin that stays',
    needsRoot: true,
    edits: [{ file: 'supervisor/custody/watch-custody.ts', at: 'control: watch-custody.look', replace: '' }],
  },
  {
    name: 'nobody looks whether the ports were shut down',
    needsRoot: true,
    edits: [
      {
        file: look,
        at: 'control: listener-look.port',
        find: 'listened.has(port.handle)',
        replace: 'hangs === undefined',
      },
    ],
  },
  {
    name: 'a port that was bound anew counts as served',
    needsRoot: true,
    edits: [
      {
        file: 'supervisor/commands/guard.ts',
        at: 'control: guard.port-given',
        find: 'port !== given(name)',
        replace: 'given(name) === undefined',
      },
    ],
  },
];
