// Why OpenBao refused a login. Its texts are told apart here, by the whole text where it has no variable part, and go no
// further: what is passed on is a word of our own list, the status, and a sentence of ours.

import type { LoginDetail } from '../../shared/errors/cause.ts';
import { ProviderError } from '../../shared/errors/error.ts';
import { loginHints } from '../../shared/errors/hints.ts';
import type { HttpReply } from '../openbao/client.ts';
import { isPlainDenial, readErrors } from '../openbao/response.ts';

type Rule = { readonly statuses: readonly number[]; readonly text: RegExp; readonly detail: LoginDetail };
const rule = (detail: LoginDetail, statuses: readonly number[], text: RegExp): Rule => ({ statuses, text, detail });

/**
 * In this order; texts are in lower case.
 *
 * @see OpenBao v2.6.2: builtin/credential/jwt path_login.go and claims.go, vault request_handling.go and routing/router.go;
 *   hashicorp/cap v0.13.0 jwt/jwt.go
 */
const rules: readonly Rule[] = [
  rule('rate_limited', [429], /rate limit quota exceeded$/u),
  rule('locked', [503], /^api access to this namespace has been locked/u),
  rule('namespace_not_found', [404], /^namespace not found$/u),
  rule('mount_not_found', [404], /^/u),
  // What the methods approle, cert and kubernetes miss in a login that was meant for a JWT method.
  rule('mount_not_found', [400, 500], /^(?:missing role_id|no client certificate found|invalid role name ".*")$/su),
  rule('mount_not_configured', [400], /^could not load configuration$/u),
  rule('role_not_found', [400], /^role ".*" could not be found$/su),
  rule('role_type_oidc', [400], /^role with oidc role_type is not allowed$/u),
  rule('issuer_unreachable', [400], /^error configuring token validator: /u),
  rule('issuer_unreachable', [400], /^error validating token: error verifying token signature: .*fetching keys/su),
  rule('signature', [400], /^error validating token: error verifying token signature: /u),
  rule('signature', [400], /^error validating token: invalid algorithm \(alg\) header parameter: /u),
  rule('issuer', [400], /^error validating token: invalid issuer \(iss\) claim$/u),
  rule('subject', [400], /^error validating token: invalid subject \(sub\) claim$/u),
  rule('audience', [400], /^error validating token: invalid audience \(aud\) claim: /u),
  rule('audience', [400], /^audience claim found in jwt but no audiences bound to the role$/u),
  rule('not_yet_valid', [400], /^error validating token: invalid not before \(nbf\) claim: token not yet valid$/u),
  rule(
    'not_yet_valid',
    [400],
    /^error validating token: invalid issued at \(iat\) claim: token issued in the future$/u,
  ),
  rule('expired', [400], /^error validating token: invalid expiration time \(exp\) claim: token is expired$/u),
  rule('claim', [400], /^error validating token: (?:no issued at \(iat\)|go-jose\/)/u),
  rule('claim', [400], /^error validating claims: /u),
  rule('claim', [400], /^claim ".*" (?:not found in token|could not be converted to string)$/su),
  rule('claim', [400], /^(?:error converting claim '|failed to fetch groups: |".*" claim could not be converted)/su),
  rule('claim', [400], /^value .* in groups claim could not be parsed as string$/su),
  rule('claim', [500], /^missing name in alias$/u),
  rule(
    'role_not_found',
    [500],
    /^1 error occurred:\n\t\* failed to renew entry: role .* does not exist during renewal/su,
  ),
  rule('no_policy', [400], /^(?:auth methods cannot create root tokens|cannot assign policy ".*")$/su),
];

/** What OpenBao's answer to a login or a renewal says; undefined for a text that is not in the table. */
export function detailOf(reply: HttpReply): LoginDetail | undefined {
  const text = readErrors(reply.body);
  return rules.find((one) => one.statuses.includes(reply.status) && one.text.test(text))?.detail;
}

/** Whether the refusal says the same of a mount that is not there as of a caller outside of the role's addresses. */
export function isAmbiguous(reply: HttpReply): boolean {
  return reply.status === 403 && isPlainDenial(reply);
}

/** How far the clock of whoever answered is from ours, milliseconds; 0 when the answer has no date. */
export function clockDifferenceMs(reply: HttpReply, nowUnixMs: number): number {
  const dateMs = Date.parse(reply.date);
  return Number.isNaN(dateMs) ? 0 : Math.abs(nowUnixMs - dateMs);
}

/** They pass by themselves, or with an act of an operator on OpenBao; nothing was said of our credential. */
const notOurs: readonly LoginDetail[] = ['rate_limited', 'locked', 'issuer_unreachable'];
const refusedClasses = [
  'bao_invalid_request',
  'bao_unauthenticated',
  'bao_permission_denied',
  'bao_not_found',
  'bao_unknown',
];

/**
 * The error of a login that was not granted: outages keep their class, everything else is `auth_rejected`.
 *
 * @param error  what the answer is without its text
 * @param sentence  instead of the one of the detail `other`
 */
export function refusalOf(error: ProviderError, detail: LoginDetail | undefined, sentence?: string): ProviderError {
  if (detail !== undefined && notOurs.includes(detail)) {
    return new ProviderError(error.class, loginHints[detail], { facts: { ...error.facts, detail } });
  }
  if (detail === undefined && !refusedClasses.includes(error.class)) return error;
  return detail === undefined ? rejected('other', error.facts, sentence) : rejected(detail, error.facts);
}

export function rejected(detail: LoginDetail, facts: ProviderError['facts'] = {}, message?: string): ProviderError {
  return new ProviderError('auth_rejected', message ?? loginHints[detail], { facts: { ...facts, detail } });
}
