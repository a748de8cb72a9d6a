import type { Mutation } from '../run.ts';

const command = 'supervisor/launch/plugin-command.ts';
const channel = 'supervisor/channel/channel.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'the plugin runs without its permission model',
    edits: [
      { file: command, at: 'control: plugin-command.permission', replace: '' },
      // Without the flag its allowances are unknown options.
      { file: command, at: 'control: plugin-command.read-bundle', replace: '' },
      { file: command, at: 'control: plugin-command.read-status', replace: '' },
    ],
  },
  {
    // The gate and the greeting would both refuse it, so they are blind here as well.
    name: 'the plugin is started without the drop',
    needsRoot: true,
    edits: [
      {
        file: command,
        at: 'control: plugin-command.drop',
        find: "=== 'separate'",
        replace: "!== 'separate' && privilege.kind !== 'same-user'",
      },
      {
        file: 'shared/confinement/confinement.ts',
        at: 'control: confinement.no-new-privs',
        replace: 'if (found !== undefined) return undefined;',
      },
    ],
  },
  {
    name: 'the supervisor does not look at the rate of frames',
    edits: [{ file: channel, at: 'control: channel.frame-rate', find: '> maxFramesPerSecond', replace: '< 0' }],
  },
  {
    name: 'messages may come at any time',
    edits: [
      {
        file: channel,
        at: 'control: channel.phase',
        find: '!allowed[this.#phase].includes(message.kind)',
        replace: 'allowed[this.#phase] === undefined',
      },
    ],
  },
];
