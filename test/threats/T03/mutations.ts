import type { Mutation } from '../run.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'the token stands in the log',
    edits: [
      {
        file: 'plugin/auth/authorized.ts',
        at: 'control: authorized.noted-operation',
        find: 'call.operation.name',
        replace: 'call.operation.name + token',
      },
    ],
  },
  {
    name: 'the plugin inherits the environment, with a token in it',
    edits: [
      {
        file: 'supervisor/launch/child.ts',
        at: 'control: child.environment',
        find: 'options.environment',
        replace: "{ ...options.environment, OPENBAO_TOKEN: 's.canary' }",
      },
    ],
  },
  {
    name: 'core dumps are allowed',
    edits: [
      {
        file: 'supervisor/launch/plugin-command.ts',
        at: 'control: plugin-command.core',
        find: '0:0',
        replace: 'unlimited:unlimited',
      },
    ],
  },
  {
    // The plugin's permission model forbids the inspector as well, so the supervisor is where the flag alone decides.
    name: 'the debug signal is left on in the supervisor',
    edits: [
      {
        file: 'deploy/build.ts',
        at: 'control: build.launcher',
        find: 'launcher)',
        replace: "launcher.replace('--disable-sigusr1', ''))",
      },
    ],
  },
];
