// Why a probe failed, in the words of /ready and of the log: the step it failed at, and the class of what failed there.

import { causeOf as readCause } from '../../shared/errors/cause.ts';
import { type ErrorClass, errorChain, errorClassOf, ProviderError } from '../../shared/errors/error.ts';
import { policyOf } from '../../shared/errors/policy.ts';
import { isLoginFailure } from '../auth/login-failure.ts';
import type { Failure, Reason } from '../health/verdict.ts';

/** Remembers at which step an OpenBao read failed; the class stays that of the cause. */
class StepFailure extends Error {
  readonly reason: Reason;

  constructor(reason: Reason, cause: unknown) {
    super('a probe step failed', { cause });
    this.reason = reason;
  }
}

export function failedAt(reason: Reason): (error: unknown) => never {
  return (error) => {
    throw errorClassOf(error) === 'profile_invalid' ? error : new StepFailure(reason, error);
  };
}

export function causeOf(error: unknown): unknown {
  return error instanceof StepFailure ? error.cause : error;
}

const localReasons: Partial<Record<ErrorClass, Reason>> = {
  upsert_allowed: 'upsert_allowed',
  profile_invalid: 'profile_invalid',
  version_rollback: 'version_rollback',
  state_unavailable: 'state_unavailable',
  state_save_failed: 'state_save_failed',
  encryption_blocked: 'encryption_blocked',
  timeout: 'metadata_read_failed',
};

export function reasonOfMetadata(error: unknown): Reason {
  if (isLoginFailure(error)) return 'login_failed';
  return error instanceof StepFailure ? error.reason : (localReasons[errorClassOf(error)] ?? 'probe_failed');
}

/** Whether OpenBao failed, and not what it answered: only that counts for the breaker. */
export function isOfOpenBao(error: unknown): boolean {
  return isLoginFailure(error) || error instanceof StepFailure || errorClassOf(error) === 'timeout';
}

export function metadataFailure(error: unknown): Failure {
  const cause = readCause(causeOf(error));
  return { reason: reasonOfMetadata(error), cause, kind: policyOf(causeOf(error)).evidence };
}

export function deepFailure(error: unknown): Failure {
  return { reason: reasonOfDeep(error), cause: readCause(error), kind: policyOf(error).evidence };
}

/** A probe that found no token says so; it is no news about the key. */
function reasonOfDeep(error: unknown): Reason {
  if (isLoginFailure(error)) return 'login_failed';
  const errorClass = errorClassOf(error);
  const isInvalid = errorClass === 'deep_probe_invalid' || errorClass === 'transit_response_invalid';
  return isInvalid ? 'deep_probe_invalid' : 'deep_probe_failed';
}

/** Whether OpenBao said that our token may not do something. */
export function isDenial(error: unknown): boolean {
  return errorChain(error).some((one) => one.class === 'bao_permission_denied');
}

export function retryAfterOf(error: unknown): number {
  const cause = causeOf(error);
  const waitMs = cause instanceof ProviderError ? cause.facts['retryAfterMs'] : undefined;
  return typeof waitMs === 'number' ? waitMs : 0;
}

export function saveDeferred(): ProviderError {
  return new ProviderError('state_save_failed', 'bookkeeping could not be saved; it is tried again at every probe');
}

export function encryptionBlocked(): ProviderError {
  return new ProviderError(
    'encryption_blocked',
    'min_encryption_version of the Transit key is above the active version',
  );
}
