// Error class → gRPC status, as the policy of the classes says. Messages come from that table and from nowhere else.

import { errorChain } from '../../shared/errors/error.ts';
import {
  type GrpcLabel,
  type KmsAnswer,
  type KmsErrorClass,
  kmsPrecedence,
  policies,
} from '../../shared/errors/policy.ts';

export type KmsMethod = 'status' | 'encrypt' | 'decrypt';
export type KmsFailure = { readonly label: GrpcLabel; readonly message: string; readonly errorClass: KmsErrorClass };

/** To what no KMS call should meet. */
const unexpected = ['internal', 'kms request failed', 'unknown'] as const satisfies KmsAnswer;

/** A failure that carries only a gRPC code, as a wrapped client of another library would. */
const classByCode: Readonly<Record<number, KmsErrorClass>> = {
  1: 'canceled',
  4: 'timeout',
  5: 'transit_key_missing',
  7: 'transit_policy_denied',
  14: 'openbao_unavailable',
  16: 'auth_failed',
};

/** The answer to whatever was thrown; nothing of ours in the chain means our own bug and becomes `panic` or `unknown`. */
export function kmsFailureOf(thrown: unknown, method: KmsMethod): KmsFailure {
  const found = new Set(errorChain(thrown).map((error) => error.class));
  const match = kmsPrecedence.find((errorClass) => found.has(errorClass));
  const answer = match === undefined ? 'elsewhere' : policies[match].kms;
  const [label, message, errorClass] = answer === 'elsewhere' ? unexpected : answer;
  const text = message.replace('{method}', method);
  return { label, message: text, errorClass: found.size > 0 ? errorClass : unclassified(thrown) };
}

/** Nothing of ours in the chain: an exception, unless it carries a gRPC code (spec/kms 2.2). */
function unclassified(thrown: unknown): KmsErrorClass {
  let current: unknown = thrown;
  for (let depth = 0; depth < 16 && current instanceof Error; depth += 1) {
    if ('code' in current && typeof current.code === 'number') return classByCode[current.code] ?? 'unknown';
    current = current.cause;
  }
  return 'panic';
}
