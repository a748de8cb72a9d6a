import type { Mutation } from '../run.ts';

const channel = 'supervisor/channel/channel.ts';
const commits = 'supervisor/lifecycle/commits.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'values are not counted before a message is parsed',
    edits: [{ file: 'shared/channel/messages.ts', at: 'control: messages.structure', replace: '' }],
  },
  {
    name: 'values are not counted before a state is parsed',
    edits: [
      {
        file: 'shared/registry/state.ts',
        at: 'control: state.structure',
        find: 'containers > maxContainers || separators > maxSeparators',
        replace: 'containers < 0 || separators < 0',
      },
    ],
  },
  {
    name: 'a plugin says as much of its credentials as it likes',
    edits: [
      {
        file: 'supervisor/lifecycle/credential-results.ts',
        at: 'control: credential.result-rate',
        find: 'maxTrialsPerMinute',
        replace: '1e9',
      },
    ],
  },
  {
    name: 'a plugin says something of a credential that it was never sent',
    edits: [
      {
        file: 'supervisor/lifecycle/credential-results.ts',
        at: 'control: credential.result-sent',
        replace: '',
      },
    ],
  },
  {
    name: 'every kind of message may be long',
    edits: [{ file: channel, at: 'control: channel.message-size', find: 'maxMessageBytes', replace: 'maxFrameBytes' }],
  },
  {
    name: 'a class may be any word',
    edits: [
      {
        file: 'shared/channel/members.ts',
        at: 'control: messages.class-name',
        find: 'wordOf(classNames)',
        replace: 'Type.String({ maxLength: classNames.length })',
      },
    ],
  },
  {
    name: 'a frame may take its time',
    edits: [{ file: channel, at: 'control: channel.frame-time', find: '!this.#isDeaf', replace: 'this.#isDeaf' }],
  },
  {
    name: 'a plugin may leave unread what it likes',
    edits: [{ file: channel, at: 'control: channel.unread', find: '!this.#isDeaf', replace: 'this.#isDeaf' }],
  },
  {
    name: 'commits are decided as they come, also during a hand-over',
    edits: [
      { file: commits, at: 'control: commits.hold', find: 'next', replace: 'next && waiting.length > 99' },
      // Slower than the bound on frames, which would end the plugin and so let the reload through.
      { file: commits, at: 'control: commits.refill', find: '1_000', replace: '50' },
    ],
  },
];
