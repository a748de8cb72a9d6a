import type { Mutation } from '../run.ts';

const file = 'plugin/http/tls.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'certificates are not verified',
    edits: [{ file, find: 'rejectUnauthorized: true', replace: 'rejectUnauthorized: false' }],
  },
  {
    name: 'the name is not checked',
    edits: [
      {
        file,
        find: 'checkServerIdentity: (_host, certificate) => checkName(trust.tlsServerName, certificate),',
        replace: 'checkServerIdentity: () => undefined,',
      },
    ],
  },
  {
    name: 'a common name counts',
    edits: [{ file, find: '{ ...certificate, subject: noSubject }', replace: 'certificate' }],
  },
  {
    name: 'system roots are trusted too',
    edits: [
      {
        file,
        find: "createSecureContext({ ca: blocks, minVersion: 'TLSv1.2', allowPartialTrustChain: true })",
        replace: "createSecureContext({ minVersion: 'TLSv1.2' })",
      },
    ],
  },
  {
    name: 'old TLS is spoken',
    edits: [
      {
        file,
        find: "createSecureContext({ ca: blocks, minVersion: 'TLSv1.2', allowPartialTrustChain: true })",
        replace: "createSecureContext({ ca: blocks, minVersion: 'TLSv1', ciphers: 'DEFAULT@SECLEVEL=0' })",
      },
      {
        file,
        find: "      minVersion: 'TLSv1.2',\n      ALPNProtocols",
        replace: "      minVersion: 'TLSv1',\n      ALPNProtocols",
      },
    ],
  },
];
