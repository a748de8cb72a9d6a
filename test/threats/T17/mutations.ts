import type { Mutation } from '../run.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'the plugin runs without its permission model',
    needsBuild: true,
    edits: [
      { file: 'supervisor/launch/plugin-command.ts', find: "    '--permission',\n", replace: '' },
      // Without the flag its allowances are unknown options.
      {
        file: 'supervisor/launch/plugin-command.ts',
        find: '    `--allow-fs-read=$' + '{bundle}`,\n',
        replace: '',
      },
      {
        file: 'supervisor/launch/plugin-command.ts',
        find: "    '--allow-fs-read=/proc/self/status',\n",
        replace: '',
      },
    ],
  },
  {
    // The gate and the greeting would both refuse it, so they are blind here as well.
    name: 'the plugin is started without the drop',
    needsBuild: true,
    needsRoot: true,
    edits: [
      {
        file: 'supervisor/launch/plugin-command.ts',
        find: "    privilege.kind === 'separate'\n",
        replace: "    privilege.kind !== 'separate' && privilege.kind !== 'same-user'\n",
      },
      {
        file: 'shared/confinement/confinement.ts',
        find: "if (found.noNewPrivs !== 1) return 'no_new_privs';",
        replace: 'if (found !== undefined) return undefined;',
      },
    ],
  },
  {
    name: 'the supervisor does not look at the rate of frames',
    needsBuild: true,
    edits: [
      {
        file: 'supervisor/channel/channel.ts',
        find: 'this.#recent.length > maxFramesPerSecond',
        replace: 'this.#recent.length < 0',
      },
    ],
  },
  {
    name: 'messages may come at any time',
    needsBuild: true,
    edits: [
      {
        file: 'supervisor/channel/channel.ts',
        find: '!allowed[this.#phase].includes(message.kind)',
        replace: 'allowed[this.#phase] === undefined',
      },
    ],
  },
];
