import type { Mutation } from '../run.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'a port to which one can connect is well',
    needsRoot: true,
    edits: [
      {
        file: 'supervisor/custody/listener-look.ts',
        at: 'control: listener-look.answer',
        find: "when === 'serving'",
        replace: 'false',
      },
    ],
  },
  {
    name: 'a plugin keeps a listener that was given up',
    needsRoot: true,
    edits: [{ file: 'supervisor/custody/port-watch.ts', at: 'control: port-watch.release', replace: '' }],
  },
];
