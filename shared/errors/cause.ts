// The cause of a failure in the one vocabulary of log, /ready, status line and metrics: a class, and what else is known. Every
// member is a word of a closed list or a number; no foreign text gets here.

import { errorChain, type Facts } from './error.ts';
import { policyOf } from './policy.ts';

/** Why a login was refused, told from OpenBao's exact texts and from our own checks. hints.ts has a sentence for each. */
export const loginDetails = [
  'mount_not_found',
  'mount_not_configured',
  'role_not_found',
  'role_type_oidc',
  'audience',
  'subject',
  'issuer',
  'claim',
  'signature',
  'not_yet_valid',
  'expired',
  'clock',
  'namespace_not_found',
  'cidr',
  'lease_too_short',
  'uses_limited',
  'no_policy',
  'rate_limited',
  'locked',
  'issuer_unreachable',
  'other',
] as const;
export type LoginDetail = (typeof loginDetails)[number];

/** Why a TLS connection to OpenBao was not made. */
export const tlsDetails = ['untrusted_ca', 'server_name', 'certificate_expired', 'protocol_version', 'other'] as const;
export type TlsDetail = (typeof tlsDetails)[number];

/** What is wrong with a CA file that holds no usable certificate. */
export const caFindings = ['ca_empty', 'ca_der', 'ca_no_certificate', 'ca_damaged'] as const;
export type CaFinding = (typeof caFindings)[number];

export type Cause = {
  /** The one name of the class (policy.ts). */
  readonly class: string;
  /** A word of `loginDetails` or `tlsDetails`. */
  readonly detail?: string;
  /** What is wrong with key, mount or rights: the code of a finding. */
  readonly finding?: string;
  readonly httpStatus?: number;
  /** The command that mends it, where there is one; no part of it comes from outside. */
  readonly repair?: string;
};

/** Reads the cause out of whatever was thrown: the class of the outermost error, each fact of the first that has it. */
export function causeOf(thrown: unknown): Cause {
  const facts = errorChain(thrown).map((error) => error.facts);
  const detail = firstOf(facts, 'detail', 'string');
  const finding = firstOf(facts, 'finding', 'string');
  const httpStatus = firstOf(facts, 'status', 'number');
  const repair = firstOf(facts, 'repair', 'string');
  return {
    class: policyOf(thrown).probeClass,
    ...(typeof detail === 'string' ? { detail } : {}),
    ...(typeof finding === 'string' ? { finding } : {}),
    ...(typeof httpStatus === 'number' ? { httpStatus } : {}),
    ...(typeof repair === 'string' ? { repair } : {}),
  };
}

function firstOf(facts: readonly Facts[], name: string, type: 'string' | 'number'): Facts[string] | undefined {
  return facts.map((one) => one[name]).find((value) => typeof value === type);
}

/** Our own sentence about it, which says what to do; undefined for an error that is not ours. */
export function hintOf(thrown: unknown): string | undefined {
  return errorChain(thrown)[0]?.message;
}
