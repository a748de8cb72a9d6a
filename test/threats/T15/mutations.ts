import type { Mutation } from '../run.ts';

const file = 'plugin/http/tls.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'certificates are not verified',
    edits: [{ file, at: 'control: tls.verify', find: 'true', replace: 'false' }],
  },
  {
    name: 'the name is not checked',
    edits: [
      {
        file,
        at: 'control: tls.check-name',
        find: 'checkName(trust.tlsServerName, certificate)',
        replace: 'undefined',
      },
    ],
  },
  {
    name: 'a common name counts',
    edits: [
      {
        file,
        at: 'control: tls.no-common-name',
        find: '{ ...certificate, subject: noSubject }',
        replace: 'certificate',
      },
    ],
  },
  {
    name: 'system roots are trusted too',
    edits: [{ file, at: 'control: tls.trusted-roots', replace: '' }],
  },
  {
    name: 'old TLS is spoken',
    edits: [
      {
        file,
        at: 'control: tls.context-version',
        find: "'TLSv1.2'",
        replace: "'TLSv1'",
      },
      { file, at: 'control: tls.no-dhe', find: ':!kDHE', replace: ':@SECLEVEL=0' },
      { file, at: 'control: tls.min-version', find: "'TLSv1.2'", replace: "'TLSv1'" },
    ],
  },
];
