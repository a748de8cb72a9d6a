import type { Mutation } from '../run.ts';

const endpoints = 'plugin/telemetry/endpoints.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'every client renders /metrics anew and requests are served as they come',
    edits: [
      {
        file: endpoints,
        at: 'control: endpoints.one-request',
        find: 'socket.off',
        replace:
          'for (let rest = 0; rest < 1_499; rest += 1) void answer(asked).then((one) => socket.write(shown(one).repeat(8)));\n    socket.off',
      },
      {
        file: endpoints,
        at: 'control: endpoints.shared-text',
        find: 'nowMs - renderedAtMs >= sharedTextMs',
        replace: 'true',
      },
    ],
  },
  {
    name: 'what is pipelined is dropped',
    edits: [{ file: endpoints, at: 'control: endpoints.pipelined', find: 'if (!isFollowed) ', replace: '' }],
  },
  {
    name: 'nobody makes room',
    edits: [
      {
        file: 'plugin/telemetry/visitors.ts',
        at: 'control: visitors.make-room',
        replace: 'if (present.size > maxVisitors) return end(visitor, "crowded"), () => {};',
      },
    ],
  },
  {
    name: 'a port in use refuses the start',
    edits: [
      {
        file: 'supervisor/custody/bound-handle.ts',
        at: 'control: bound-handle.in-use',
        replace: "throw unavailable(field, 'is in use');",
      },
    ],
  },
  {
    name: 'a port that was bound later is not served by another plugin',
    edits: [
      {
        file: 'supervisor/commands/guard.ts',
        at: 'control: guard.port-given',
        find: 'port !== given(name)',
        replace: 'false',
      },
    ],
  },
  {
    name: 'a port in use is not tried again',
    edits: [
      // What follows it plans the next look.
      { file: 'supervisor/custody/port-watch.ts', at: 'control: port-watch.again', replace: 'return;' },
    ],
  },
];
