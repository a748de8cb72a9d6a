// Mistakes that show before OpenBao has looked at anything: in the JWT itself, and on the way to OpenBao.

import { createAuthority } from '../support/pki.ts';
import { field, type Mistake, now, type Told } from './mistake.ts';

const local = (errorClass: string): Told => ({ reason: 'login_failed', class: errorClass });
const tls = (detail: string): Told => ({ reason: 'login_failed', class: 'tls_failed', detail });
/** Told before anything is sent. */
export const jwtMistakes: readonly Mistake[] = [
  {
    title: 'the JWT is for another audience',
    claims: () => ({ aud: ['x'] }),
    told: local('jwt_audience_mismatch'),
  },
  { title: 'the JWT is of another subject', claims: () => ({ sub: 'x' }), told: local('jwt_subject_mismatch') },
  { title: 'the JWT is of another issuer', claims: () => ({ iss: 'x' }), told: local('jwt_issuer_mismatch') },
  { title: 'the JWT has expired', claims: () => ({ exp: now() - 60 }), told: local('jwt_expired') },
  { title: 'the JWT is about to expire', claims: () => ({ exp: now() + 60 }), told: local('jwt_near_expiry') },
  {
    title: 'the clock of this node is behind',
    claims: () => ({ iat: now() + 600 }),
    told: local('jwt_issued_in_future'),
  },
  { title: 'the JWT is for later', claims: () => ({ nbf: now() + 600 }), told: local('jwt_not_yet_valid') },
  {
    title: 'the JWT file holds something else',
    make: ({ workplace }) => workplace.replaceFile(workplace.jwtPath, 'changeme'),
    told: local('jwt_malformed'),
  },
];

export const tlsMistakes: readonly Mistake[] = [
  {
    title: 'tlsServerName is another name',
    config: field('openbao.tlsServerName', 'openbao.test'),
    told: tls('server_name'),
  },
  {
    title: 'the CA is another one',
    make: async ({ workplace }) => workplace.replaceFile(workplace.caPath, (await createAuthority()).pem, 0o644),
    told: tls('untrusted_ca'),
  },
  {
    title: 'the certificate of OpenBao has expired',
    leaf: { notBefore: new Date(Date.now() - 86_400_000), notAfter: new Date(Date.now() - 3_600_000) },
    told: tls('certificate_expired'),
  },
  {
    title: 'OpenBao speaks only TLS 1.1',
    tls: { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1' },
    told: tls('protocol_version'),
  },
  {
    title: 'the address is of nobody',
    config: field('openbao.address', 'https://127.0.0.1:1'),
    told: local('connection_failed'),
  },
  {
    title: 'the name of the address does not resolve',
    config: field('openbao.address', 'https://openbao.invalid:8200'),
    told: local('dns_failed'),
  },
];
