import type { Mutation } from '../run.ts';

const child = 'supervisor/launch/child.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'only the plugin itself is ended',
    edits: [{ file: child, find: "    process.kill(-pid, 'SIGKILL');", replace: "    process.kill(pid, 'SIGKILL');" }],
  },
  {
    name: 'the end waits until nobody has the pipes any more',
    edits: [
      {
        file: child,
        find: 'options.clock.after(lastWordsMs, settle)',
        replace: 'options.clock.after(1_000 * lastWordsMs, settle)',
      },
    ],
  },
];
