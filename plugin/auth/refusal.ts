// Why OpenBao refused a login. Its texts are told apart here, by the whole text where it has no variable part, and go no
// further: what is passed on is a word of our own list, the status, and a sentence of ours.

import type { LoginDetail } from '../../shared/errors/cause.ts';
import { ProviderError } from '../../shared/errors/error.ts';
import { loginHints } from '../../shared/errors/hints.ts';
import type { HttpReply } from '../openbao/client.ts';
import { readErrors } from '../openbao/response.ts';

/** An answer of OpenBao, by its status and its whole text in lower case, and the word that we have for it. */
export type RefusalRule = {
  readonly statuses: readonly number[];
  readonly text: RegExp;
  readonly detail: LoginDetail;
};
export const refusalRule = (detail: LoginDetail, statuses: readonly number[], text: RegExp): RefusalRule => ({
  statuses,
  text,
  detail,
});

/**
 * What OpenBao answers whatever the login method is, in this order; a method has rules of its own beside them.
 *
 * @see OpenBao v2.6.2: vault request_handling.go and routing/router.go
 */
const rules: readonly RefusalRule[] = [
  refusalRule('rate_limited', [429], /rate limit quota exceeded$/u),
  refusalRule('locked', [503], /^api access to this namespace has been locked/u),
  refusalRule('namespace_not_found', [404], /^namespace not found$/u),
  refusalRule('mount_not_found', [404], /^/u),
  refusalRule('no_policy', [400], /^(?:auth methods cannot create root tokens|cannot assign policy ".*")$/su),
];

/** What OpenBao's answer to a login or a renewal says; undefined for a text that no rule knows. @param own  rules of the method */
export function detailOf(reply: HttpReply, own: readonly RefusalRule[]): LoginDetail | undefined {
  const text = readErrors(reply.body);
  return [...rules, ...own].find((one) => one.statuses.includes(reply.status) && one.text.test(text))?.detail;
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
