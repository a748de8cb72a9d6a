// What an operator does about each cause that has a name: one sentence each, in the log as `hint` and in docs/errors.md.

import { type LoginDetail, loginDetails, type TlsDetail, tlsDetails } from './cause.ts';

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
    'by the clock of OpenBao, the nbf or iat of the JWT is in the future; a JWT that has neither is valid only in the last 150 seconds before its exp',
  expired:
    'by the clock of OpenBao, the exp of the JWT has passed; check that the file of auth.jwt.jwtFile is renewed in time',
  clock:
    'the clocks of this node and of OpenBao differ by more than auth.jwt.clockSkewLeeway; check the time synchronisation of both',
  namespace_not_found:
    'OpenBao has no namespace with the name of openbao.namespace; compare it with `bao namespace list`',
  cidr: 'OpenBao sees this node under an address outside of token_bound_cidrs of the role; add it, or the address of the proxy in between',
  lease_too_short:
    'the tokens of the role do not live longer than auth.loginBeforeTokenExpiry; raise token_ttl and token_max_ttl of the role',
  uses_limited: 'the role limits the uses of its tokens; set token_num_uses=0 in the role',
  no_policy:
    'no policy of the role allows anything on the Transit key; set token_policies of the role to the policy of the README',
  rate_limited:
    'a rate-limit quota of OpenBao refuses the login; raise the quota, or exempt the path of the login from it',
  locked: 'the API of the namespace is locked; unlock it with `bao namespace unlock`',
  issuer_unreachable:
    'OpenBao cannot fetch the keys of the issuer; check the network path from OpenBao to jwks_url or oidc_discovery_url of the mount',
  other: 'OpenBao refused the login with a text that this program does not know; see the log of OpenBao at this time',
} as const satisfies Record<LoginDetail, string>;

/** For each reason why a TLS connection to OpenBao was not made. */
export const tlsHints = {
  untrusted_ca: 'the certificate of OpenBao is not signed by a CA of openbao.caCertFile; install the CA that signed it',
  server_name:
    'the certificate of OpenBao does not name openbao.tlsServerName as a DNS name or IP address; correct the field or issue a certificate with that subject alternative name',
  certificate_expired:
    'the certificate of OpenBao, or a CA above it, has expired or is not valid yet; renew it, or correct the clock of this host',
  protocol_version:
    'OpenBao speaks neither TLS 1.2 nor TLS 1.3; raise tls_min_version and tls_max_version of its listener',
  other: 'the TLS connection to OpenBao failed; check that openbao.address is an HTTPS listener of OpenBao',
} as const satisfies Record<TlsDetail, string>;

/** For each class of a JWT or CA that no login and no handshake was tried with. */
const credentialHints: Readonly<Record<string, string>> = {
  jwt_malformed: 'the file of auth.jwt.jwtFile does not hold a signed JWT; check the agent that writes it',
  jwt_not_yet_valid: 'the nbf of the JWT is still ahead; check the clocks of this node and of the issuer',
  jwt_issued_in_future: 'the iat of the JWT is still ahead; check the clocks of this node and of the issuer',
  jwt_issuer_mismatch: 'the iss of the JWT is not auth.jwt.expectedIssuer; correct the issuer or the configuration',
  jwt_audience_mismatch:
    'the aud of the JWT has none of auth.jwt.expectedAudience; correct the issuer or the configuration',
  jwt_subject_mismatch: 'the sub of the JWT is not auth.jwt.expectedSubject; correct the issuer or the configuration',
  jwt_expired: 'the exp of the JWT has passed; check the agent that renews the file of auth.jwt.jwtFile',
  jwt_near_expiry:
    'the JWT has less life left than auth.jwt.minRemainingTtl; check the agent that renews the file of auth.jwt.jwtFile',
  ca_invalid:
    'the file of openbao.caCertFile holds no usable certificate: it is empty, damaged, or not PEM; install the CA of OpenBao as PEM',
};

/** The sentence about a newer JWT or CA that was not accepted: for its class, for the detail of TLS, or of the login. */
export function credentialHintOf(errorClass: string | undefined, detail: string | undefined): string | undefined {
  if (errorClass === 'tls_failed') {
    const known = tlsDetails.find((one) => one === detail);
    return known === undefined ? undefined : tlsHints[known];
  }
  return loginHintOf(detail) ?? (errorClass === undefined ? undefined : credentialHints[errorClass]);
}

/** The sentence for what came over the channel as a word; undefined for a word of another list, or of more than one. */
export function loginHintOf(detail: string | undefined): string | undefined {
  const known = loginDetails.find((one) => one === detail);
  return known === undefined || known === 'other' ? undefined : loginHints[known];
}
