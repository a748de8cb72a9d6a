// Marks what comes from the side of the token: a call that was never made because there was no token failed by its login, and
// whoever tells of it must not blame the call.

import { errorChain, ProviderError } from '../../shared/errors/error.ts';

const step = 'login';

/** Throws the same class with the same facts, marked; what is not an error of ours passes as it is. */
export function asLoginFailure(error: unknown): never {
  if (!(error instanceof ProviderError) || error.class === 'canceled') throw error;
  throw new ProviderError(error.class, error.message, { cause: error, facts: { ...error.facts, step } });
}

/** Whether a call failed because there was no token for it. */
export function isLoginFailure(error: unknown): boolean {
  return errorChain(error).some(({ facts }) => facts['step'] === step);
}
