import type { Mutation } from '../run.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'the token stands in the log',
    needsBuild: true,
    edits: [
      {
        file: 'plugin/auth/authorized.ts',
        find: 'operation: call.operation.name, label',
        replace: 'operation: call.operation.name + token, label',
      },
    ],
  },
  {
    name: 'the plugin inherits the environment, with a token in it',
    needsBuild: true,
    edits: [
      {
        file: 'supervisor/launch/child.ts',
        find: 'env: options.environment,',
        replace: "env: { ...options.environment, OPENBAO_TOKEN: 's.canary' },",
      },
    ],
  },
  {
    name: 'core dumps are allowed',
    needsBuild: true,
    edits: [
      { file: 'supervisor/launch/plugin-command.ts', find: "'--core=0:0'", replace: "'--core=unlimited:unlimited'" },
    ],
  },
  {
    // The plugin's permission model forbids the inspector as well, so the supervisor is where the flag alone decides.
    name: 'the debug signal is left on in the supervisor',
    needsBuild: true,
    edits: [{ file: 'deploy/build.ts', find: 'node" --disable-sigusr1 --max', replace: 'node" --max' }],
  },
];
