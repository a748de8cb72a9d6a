import type { Mutation } from '../run.ts';

const file = 'plugin/http/tls.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'a common name counts where there is no alternative name',
    edits: [{ file, find: '{ ...certificate, subject: noSubject }', replace: 'certificate' }],
  },
  {
    name: 'a common name counts beside alternative names',
    edits: [
      {
        file,
        find: 'return checkServerIdentity(name, { ...certificate, subject: noSubject });',
        replace: 'return certificate.subject.CN === name ? undefined : checkServerIdentity(name, certificate);',
      },
    ],
  },
];
