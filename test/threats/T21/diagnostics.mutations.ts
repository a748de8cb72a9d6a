import type { Mutation } from '../run.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'every client renders /metrics anew and requests are served as they come',
    needsBuild: true,
    edits: [
      {
        file: 'plugin/telemetry/endpoints.ts',
        find: "    socket.off('data', hear);\n",
        replace:
          "    for (let rest = 0; rest < 1_499; rest += 1) void answer(asked).then((one) => socket.write(shown(one).repeat(8)));\n    socket.off('data', hear);\n",
      },
      { file: 'plugin/telemetry/endpoints.ts', find: 'nowMs - renderedAtMs >= sharedTextMs', replace: 'true' },
    ],
  },
  {
    name: 'what is pipelined is dropped',
    needsBuild: true,
    edits: [{ file: 'plugin/telemetry/endpoints.ts', find: '  if (!isFollowed) return', replace: '  return' }],
  },
  {
    name: 'nobody makes room',
    needsBuild: true,
    edits: [
      {
        file: 'plugin/telemetry/visitors.ts',
        find: '      planRoom();\n      if (present.size > maxCrowd) makeRoom();\n',
        replace: '      if (present.size > maxVisitors) return end(visitor, "crowded"), () => {};\n',
      },
    ],
  },
  {
    name: 'a port in use refuses the start',
    needsBuild: true,
    edits: [
      {
        file: 'supervisor/custody/bound-handle.ts',
        find: '    handle.close();\n    return undefined;\n',
        replace: "    handle.close();\n    throw unavailable(field, 'is in use');\n",
      },
    ],
  },
  {
    name: 'a port that was bound again counts as served',
    needsBuild: true,
    edits: [
      {
        file: 'supervisor/commands/guard.ts',
        find: 'port !== undefined && port !== deps.portsGiven()?.[name]',
        replace: 'port !== undefined && deps.portsGiven()?.[name] === undefined',
      },
    ],
  },
  {
    name: 'a port in use is not tried again',
    needsBuild: true,
    edits: [
      {
        file: 'supervisor/custody/port-watch.ts',
        find: '    if (deps.unserved().length > 0 && mayReplace()) deps.replace();\n    deps.clock.after(portRetryMs, tick);\n',
        replace: '',
      },
    ],
  },
];
