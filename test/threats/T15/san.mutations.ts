import type { Mutation } from '../run.ts';

const place = { file: 'plugin/http/tls.ts', at: 'control: tls.no-common-name' };

export const mutations: readonly Mutation[] = [
  {
    name: 'a common name counts where there is no alternative name',
    edits: [{ ...place, find: '{ ...certificate, subject: noSubject }', replace: 'certificate' }],
  },
  {
    name: 'a common name counts beside alternative names',
    edits: [
      {
        ...place,
        replace: 'return certificate.subject.CN === name ? undefined : checkServerIdentity(name, certificate);',
      },
    ],
  },
];
