import type { Mutation } from '../run.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'that the key may be deleted is no finding',
    edits: [
      {
        file: 'plugin/keys/profile.ts',
        at: 'control: profile.deletion',
        find: 'p.isDeletionAllowed',
        replace: 'false',
      },
    ],
  },
  {
    name: 'the policy lets the provider delete the key',
    edits: [
      {
        file: 'test/support/openbao/provision.ts',
        at: 'control: policy.key',
        find: "'read'",
        replace: `'read", "delete'`,
      },
    ],
  },
];
