import type { Mutation } from '../run.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'that the key may be deleted is no finding',
    needsBuild: true,
    edits: [
      {
        file: 'plugin/keys/profile.ts',
        find: 'isPresent: (p) => p.isDeletionAllowed',
        replace: 'isPresent: () => false',
      },
    ],
  },
  {
    name: 'the policy lets the provider delete the key',
    edits: [
      {
        file: 'test/support/openbao/provision.ts',
        find: 'allow(`$' + '{mountPath}/keys/$' + "{keyName}`, 'read')",
        replace:
          'allow(`$' +
          '{mountPath}/keys/$' +
          "{keyName}`, 'delete'), allow(`$" +
          '{mountPath}/keys/$' +
          "{keyName}`, 'read')",
      },
    ],
  },
];
