import type { Mutation } from '../run.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'nobody looks whether the socket was shut down',
    needsBuild: true,
    needsRoot: true,
    edits: [
      {
        file: 'supervisor/custody/listener-look.ts',
        find: "(await answerOf({ path }, clock, lookTimeoutMs)) === 'refused'",
        replace: "(await answerOf({ path }, clock, lookTimeoutMs)) === 'other'",
      },
    ],
  },
  {
    name: 'nobody looks at the socket under a plugin that stays',
    needsBuild: true,
    needsRoot: true,
    edits: [{ file: 'supervisor/custody/watch-custody.ts', find: '  if (isOurs) deps.nameLooked();\n', replace: '' }],
  },
  {
    name: 'nobody looks whether the ports were shut down',
    needsBuild: true,
    needsRoot: true,
    edits: [
      {
        file: 'supervisor/custody/listener-look.ts',
        find: '(await isPortShut(port, when))',
        replace: '(await isPortShut(port, when)) && hangs === undefined',
      },
    ],
  },
];
