// Why OpenBao refused the login with a JWT: its texts, what is asked about the mount, and whose clock is wrong. Nothing is asked
// with the JWT, and no answer proves nothing.

import type { LoginDetail } from '../../../shared/errors/cause.ts';
import type { Http, HttpReply } from '../../openbao/client.ts';
import { loginOperations } from '../../openbao/operations.ts';
import { isPlainDenial } from '../../openbao/response.ts';
import type { Sent } from '../login.ts';
import { detailOf, type RefusalRule, refusalRule } from '../refusal.ts';

export type JwtMount = {
  readonly mountPath: string;
  readonly role: string;
  /** A difference of clocks up to this is none. */
  readonly clockSkewLeewayMs: number;
  readonly wallMs: () => number;
};

/**
 * @see OpenBao v2.6.2: builtin/credential/jwt path_login.go and claims.go; hashicorp/cap v0.13.0 jwt/jwt.go
 */
export const jwtRefusals: readonly RefusalRule[] = [
  // What the methods approle, cert and kubernetes miss in a login that was meant for a JWT method.
  refusalRule(
    'mount_not_found',
    [400, 500],
    /^(?:missing role_id|no client certificate found|invalid role name ".*")$/su,
  ),
  refusalRule('mount_not_configured', [400], /^could not load configuration$/u),
  refusalRule('role_not_found', [400], /^role ".*" could not be found$/su),
  refusalRule('role_type_oidc', [400], /^role with oidc role_type is not allowed$/u),
  refusalRule('issuer_unreachable', [400], /^error configuring token validator: /u),
  refusalRule(
    'issuer_unreachable',
    [400],
    /^error validating token: error verifying token signature: .*fetching keys/su,
  ),
  refusalRule('signature', [400], /^error validating token: error verifying token signature: /u),
  refusalRule('signature', [400], /^error validating token: invalid algorithm \(alg\) header parameter: /u),
  refusalRule('issuer', [400], /^error validating token: invalid issuer \(iss\) claim$/u),
  refusalRule('subject', [400], /^error validating token: invalid subject \(sub\) claim$/u),
  refusalRule('audience', [400], /^error validating token: invalid audience \(aud\) claim: /u),
  refusalRule('audience', [400], /^audience claim found in jwt but no audiences bound to the role$/u),
  refusalRule(
    'not_yet_valid',
    [400],
    /^error validating token: invalid not before \(nbf\) claim: token not yet valid$/u,
  ),
  refusalRule(
    'not_yet_valid',
    [400],
    /^error validating token: invalid issued at \(iat\) claim: token issued in the future$/u,
  ),
  refusalRule('expired', [400], /^error validating token: invalid expiration time \(exp\) claim: token is expired$/u),
  refusalRule('claim', [400], /^error validating token: (?:no issued at \(iat\)|go-jose\/)/u),
  refusalRule('claim', [400], /^error validating claims: /u),
  refusalRule('claim', [400], /^claim ".*" (?:not found in token|could not be converted to string)$/su),
  refusalRule(
    'claim',
    [400],
    /^(?:error converting claim '|failed to fetch groups: |".*" claim could not be converted)/su,
  ),
  refusalRule('claim', [400], /^value .* in groups claim could not be parsed as string$/su),
  refusalRule('claim', [500], /^missing name in alias$/u),
  refusalRule(
    'role_not_found',
    [500],
    /^1 error occurred:\n\t\* failed to renew entry: role .* does not exist during renewal/su,
  ),
];

/** A refusal about time is one about clocks when ours and OpenBao's are apart. */
export async function explainRefusal(
  http: Http,
  options: JwtMount,
  reply: HttpReply,
  sent: Sent,
): Promise<LoginDetail | undefined> {
  if (isAmbiguous(reply)) return askForMount(http, options, sent);
  const detail = detailOf(reply, jwtRefusals);
  const isAboutTime = detail === 'not_yet_valid' || detail === 'expired';
  const isApart = clockDifferenceMs(reply, options.wallMs()) > options.clockSkewLeewayMs;
  return isAboutTime && isApart ? 'clock' : detail;
}

/**
 * Asks for a login without a JWT. OpenBao answers "permission denied" below a path where nothing is mounted, as it does to a
 * caller outside of token_bound_cidrs; but a JWT method misses the JWT before it looks at addresses.
 */
async function askForMount(http: Http, options: JwtMount, sent: Sent): Promise<LoginDetail | undefined> {
  const { mountPath, role } = options;
  try {
    const operation = loginOperations.jwt;
    const { status } = await http.send({ operation, path: `${mountPath}/login`, body: { role }, ...sent });
    return status === 400 ? 'cidr' : 'mount_not_found';
  } catch {
    return undefined;
  }
}

/** Whether the refusal says the same of a mount that is not there as of a caller outside of the role's addresses. */
function isAmbiguous(reply: HttpReply): boolean {
  return reply.status === 403 && isPlainDenial(reply);
}

/** How far the clock of whoever answered is from ours, milliseconds; 0 when the answer has no date. */
function clockDifferenceMs(reply: HttpReply, nowUnixMs: number): number {
  const dateMs = Date.parse(reply.date);
  return Number.isNaN(dateMs) ? 0 : Math.abs(nowUnixMs - dateMs);
}
