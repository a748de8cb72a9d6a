import type { Mutation } from '../run.ts';

const channel = 'supervisor/channel/channel.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'values are not counted before a message is parsed',
    needsBuild: true,
    edits: [{ file: 'shared/channel/messages.ts', find: '  checkStructure(payload, maxMessage);\n', replace: '' }],
  },
  {
    name: 'values are not counted before a state is parsed',
    edits: [
      {
        file: 'shared/registry/state.ts',
        find: 'if (containers > maxContainers || separators > maxSeparators)',
        replace: 'if (containers < 0 || separators < 0)',
      },
    ],
  },
  {
    name: 'a plugin says as much of its credentials as it likes',
    needsBuild: true,
    edits: [
      {
        file: 'supervisor/lifecycle/incumbent.ts',
        find: 'if (isNext || !this.#mayTellResult()) return;',
        replace: 'if (isNext) return;',
      },
    ],
  },
  {
    name: 'a plugin says something of a credential that it was never sent',
    needsBuild: true,
    edits: [
      {
        file: 'supervisor/lifecycle/incumbent.ts',
        find: 'if (generation > (from.sent.get(name) ?? 0)) return;',
        replace: '',
      },
    ],
  },
  {
    name: 'every kind of message may be long',
    needsBuild: true,
    edits: [{ file: channel, find: 'return maxMessageBytes;', replace: 'return maxFrameBytes;' }],
  },
  {
    name: 'a class may be any word',
    needsBuild: true,
    edits: [
      {
        file: 'shared/channel/members.ts',
        find: 'const className = wordOf(classNames);',
        replace: 'const className = Type.String({ maxLength: classNames.length });',
      },
    ],
  },
  {
    name: 'a frame may take its time',
    needsBuild: true,
    edits: [
      {
        file: channel,
        find: '&& !this.#isDeaf) this.#frame.begin();',
        replace: '&& this.#isDeaf) this.#frame.begin();',
      },
    ],
  },
  {
    name: 'a plugin may leave unread what it likes',
    needsBuild: true,
    edits: [{ file: channel, find: 'if (isLate && !this.#isDeaf)', replace: 'if (isLate && this.#isDeaf)' }],
  },
  {
    name: 'commits are decided as they come, also during a hand-over',
    needsBuild: true,
    edits: [
      {
        file: 'supervisor/lifecycle/commits.ts',
        find: 'isHeld = next;',
        replace: 'isHeld = next && waiting.length > 99;',
      },
      // Slower than the bound on frames, which would end the plugin and so let the reload through.
      { file: 'supervisor/lifecycle/commits.ts', find: 'const refillMs = 1_000;', replace: 'const refillMs = 50;' },
    ],
  },
];
