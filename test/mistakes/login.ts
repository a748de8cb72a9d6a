// Mistakes that OpenBao refuses a login for. The texts are its own; what cannot be brought about on one machine, or not on the
// development server, is played at the front, word by word.

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createJwtIssuer } from '../support/jwt-issuer.ts';
import { refuse } from '../support/openbao/answer.ts';
import { field, type Mistake, now, role, type Told } from './mistake.ts';
import type { Place } from './place.ts';

const login = (detail: string, httpStatus?: number): Told => ({
  reason: 'login_failed',
  class: 'auth_rejected',
  detail,
  ...(httpStatus === undefined ? {} : { httpStatus }),
});
/** Answers every login so. */
const answerLogins =
  (status: number, text: string) =>
  ({ front }: Place) => {
    front.fault = ({ path }) => (path.endsWith('/login') ? refuse(status, text) : undefined);
  };

export const loginMistakes: readonly Mistake[] = [
  {
    title: 'the role has another name',
    config: field('auth.jwt.role', 'a-role-that-is-not-there'),
    told: login('role_not_found', 400),
  },
  {
    title: 'the role is of type oidc',
    make: role({ role_type: 'oidc', allowed_redirect_uris: ['https://ui.test'] }),
    told: login('role_type_oidc', 400),
  },
  {
    title: 'nothing is mounted at the path of the login',
    config: field('auth.jwt.mountPath', 'auth/not-there'),
    told: login('mount_not_found', 403),
  },
  {
    title: 'the method at the path is another one',
    config: field('auth.jwt.mountPath', 'auth/a-userpass'),
    make: ({ admin }) => admin.call('POST', 'sys/auth/a-userpass', { type: 'userpass' }),
    told: login('mount_not_found', 403),
    needsReal: true,
  },
  {
    title: 'the JWT method was mounted and not configured',
    config: field('auth.jwt.mountPath', 'auth/not-configured'),
    make: ({ admin }) => admin.call('POST', 'sys/auth/not-configured', { type: 'jwt' }),
    told: login('mount_not_configured', 400),
  },
  {
    title: 'the role is bound to another audience',
    make: role({ bound_audiences: ['somebody-else'] }),
    told: login('audience', 400),
  },
  {
    title: 'the role is bound to no audience',
    make: role({ bound_audiences: [] }),
    told: login('audience', 400),
  },
  {
    title: 'the role is bound to another subject',
    make: role({ bound_subject: 'somebody-else' }),
    told: login('subject', 400),
  },
  {
    title: 'the mount is bound to another issuer',
    make: ({ admin, installation, issuer }) =>
      admin.call('POST', `${installation.authPath}/config`, {
        jwt_validation_pubkeys: [issuer.publicKeyPem],
        bound_issuer: 'https://another-issuer.test',
      }),
    told: login('issuer', 400),
  },
  {
    title: 'the role demands a claim that the JWT does not have',
    make: role({ bound_claims: { environment: 'production' } }),
    told: login('claim', 400),
  },
  {
    title: 'the role demands another value of a claim',
    claims: () => ({ environment: 'staging' }),
    make: role({ bound_claims: { environment: 'production' } }),
    told: login('claim', 400),
  },
  {
    title: 'the user claim of the role is not in the JWT',
    make: role({ user_claim: 'preferred_username' }),
    told: login('claim', 400),
  },
  {
    title: 'the mount has the key of another issuer',
    make: ({ admin, installation }) =>
      admin.call('POST', `${installation.authPath}/config`, {
        jwt_validation_pubkeys: [createJwtIssuer().publicKeyPem],
      }),
    told: login('signature', 400),
  },
  {
    title: 'the mount does not take the algorithm of the JWT',
    make: ({ admin, installation, issuer }) =>
      admin.call('POST', `${installation.authPath}/config`, {
        jwt_validation_pubkeys: [issuer.publicKeyPem],
        jwt_supported_algs: ['RS256'],
      }),
    told: login('signature', 400),
  },
  {
    title: 'the JWT is not valid yet for OpenBao',
    config: field('auth.jwt.clockSkewLeeway', '5m'),
    claims: () => ({ nbf: now() + 270 }),
    told: login('not_yet_valid', 400),
  },
  {
    title: 'the clock of this node is ahead of that of OpenBao',
    config: field('auth.jwt.clockSkewLeeway', '5m'),
    claims: () => ({ nbf: now() + 270 }),
    make: ({ front }) => {
      front.dateOffsetMs = -600_000;
    },
    told: login('clock', 400),
  },
  {
    // Played: on one clock a JWT that we still send is not expired for OpenBao.
    title: 'the JWT has expired for OpenBao',
    make: answerLogins(400, 'error validating token: invalid expiration time (exp) claim: token is expired'),
    told: login('expired', 400),
  },
  {
    title: 'the namespace is not there',
    config: field('openbao.namespace', 'not-there'),
    told: login('namespace_not_found', 404),
  },
  {
    title: 'the API of the namespace is locked',
    config: field('openbao.namespace', 'a-locked-one'),
    make: async (place) => {
      const locked =
        'API access to this namespace has been locked by an administrator - "a-locked-one/" must be unlocked to gain access.';
      if (!place.isReal) return answerLogins(503, locked)(place);
      await place.admin.call('POST', 'sys/namespaces/a-locked-one');
      await place.admin.call('POST', 'sys/namespaces/api-lock/lock/a-locked-one');
    },
    told: { reason: 'login_failed', class: 'unavailable', detail: 'locked', httpStatus: 503 },
  },
  {
    title: 'the method is mounted in another namespace',
    config: field('openbao.namespace', 'an-empty-one'),
    make: ({ admin }) => admin.call('POST', 'sys/namespaces/an-empty-one'),
    told: login('mount_not_found', 403),
    needsReal: true,
  },
  {
    title: 'the role is bound to other addresses',
    make: role({ token_bound_cidrs: ['192.0.2.0/24'] }),
    told: login('cidr', 403),
  },
  {
    title: 'the tokens of the role live too short',
    make: role({ token_ttl: '4m', token_max_ttl: '4m' }),
    told: login('lease_too_short'),
  },
  { title: 'the role limits the uses', make: role({ token_num_uses: 10 }), told: login('uses_limited') },
  { title: 'the role has no policy', make: role({ token_policies: [] }), told: login('no_policy') },
  {
    title: 'the role has only the policy default',
    make: role({ token_policies: [], token_no_default_policy: false }),
    told: login('no_policy'),
  },
  {
    title: 'the role has the policy root',
    make: role({ token_policies: ['root'] }),
    told: login('no_policy', 400),
  },
  {
    title: 'a quota is used up',
    make: async (place) => {
      const { admin, installation, isReal } = place;
      const path = `${installation.authPath}/login`;
      if (!isReal) return answerLogins(429, `request path "${path}": rate limit quota exceeded`)(place);
      await admin.call('POST', `sys/quotas/rate-limit/${installation.role}`, { path, rate: 0.001, interval: '1h' });
      await admin.call('POST', path, { role: installation.role }, true);
    },
    told: { reason: 'login_failed', class: 'rate_limited', detail: 'rate_limited', httpStatus: 429 },
  },
  {
    title: 'OpenBao cannot reach the issuer',
    make: async (place) => {
      const text = 'error validating token: error verifying token signature: fetching keys oidc: get keys failed';
      if (!place.isReal) return answerLogins(400, text)(place);
      const issuer = createServer((_, response) => response.end('{"keys":[]}'));
      await new Promise<void>((resolve) => issuer.listen(0, '127.0.0.1', resolve));
      const jwks_url = `http://127.0.0.1:${(issuer.address() as AddressInfo).port}/keys`;
      await place.admin.call('POST', `${place.installation.authPath}/config`, { jwks_url });
      issuer.closeAllConnections();
      await new Promise((resolve) => issuer.close(resolve));
    },
    told: { reason: 'login_failed', class: 'unavailable', detail: 'issuer_unreachable', httpStatus: 400 },
  },
];
