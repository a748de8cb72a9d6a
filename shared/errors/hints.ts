// What an operator does about each cause that has a name: one sentence each, in the log as `hint` and in docs/errors.md.

import { type LoginDetail, loginDetails } from './cause.ts';

/** For each reason why a login was refused. */
export const loginHints = {
  mount_not_found:
    'OpenBao has no JWT method at auth.jwt.mountPath; compare it with `bao auth list` in the namespace of openbao.namespace',
  mount_not_configured:
    'the JWT method at auth.jwt.mountPath has no keys yet; write its configuration with `bao write <mount>/config`',
  role_not_found: 'the JWT method has no role with the name of auth.jwt.role; compare it with `bao list <mount>/role`',
  role_type_oidc:
    'the role is of type oidc, which is the default of OpenBao; set role_type=jwt in the role of auth.jwt.role',
  audience:
    "the aud of the JWT is not in the role's bound_audiences, or the role has none; make issuer, role and auth.jwt.expectedAudience agree",
  subject: "the sub of the JWT is not the role's bound_subject; make issuer, role and auth.jwt.expectedSubject agree",
  issuer: "the iss of the JWT is not the mount's bound_issuer; make issuer, mount and auth.jwt.expectedIssuer agree",
  claim:
    "a claim that the role's user_claim, bound_claims, claim_mappings or groups_claim asks for is missing or different",
  signature:
    'no key of the JWT method verifies the JWT; compare the keys of the mount with those of the issuer, and the algorithm with jwt_supported_algs',
  not_yet_valid:
    'for OpenBao the nbf or iat of the JWT lies ahead; a JWT without both is valid only in the last 150 seconds before its exp',
  expired: 'for OpenBao the exp of the JWT has passed; check that the file of auth.jwt.jwtFile is renewed in time',
  clock:
    'the clocks of this node and of OpenBao differ by more than auth.jwt.clockSkewLeeway; check the time synchronisation of both',
  namespace_not_found:
    'OpenBao has no namespace with the name of openbao.namespace; compare it with `bao namespace list`',
  cidr: 'OpenBao sees this node under an address outside of token_bound_cidrs of the role; add it, or the address of the proxy between',
  lease_too_short:
    'the tokens of the role do not live longer than auth.loginBeforeTokenExpiry; raise token_ttl and token_max_ttl of the role',
  uses_limited: 'the role limits the uses of its tokens; set token_num_uses=0 in the role',
  no_policy:
    'no policy of the role allows anything on the Transit key; set token_policies of the role to the policy of the README',
  rate_limited:
    'a rate-limit quota of OpenBao refuses the login; raise the quota, or exempt the path of the login from it',
  locked: 'the API of the namespace is locked; unlock it with `bao namespace unlock`',
  issuer_unreachable:
    'OpenBao cannot fetch the keys of the issuer; check the way from OpenBao to jwks_url or oidc_discovery_url of the mount',
  other: "OpenBao refused the login with a text that this program does not know; compare OpenBao's log of this moment",
} as const satisfies Record<LoginDetail, string>;

/** The sentence for what came over the channel as a word; undefined for a word of another list, or of more than one. */
export function loginHintOf(detail: string | undefined): string | undefined {
  const known = loginDetails.find((one) => one === detail);
  return known === undefined || known === 'other' ? undefined : loginHints[known];
}
