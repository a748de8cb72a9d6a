// Asserts the class of an error, never its text.

import * as assert from 'uvu/assert';
import { type ErrorClass, ProviderError } from '../../shared/errors/error.ts';

export function throwsClass(run: () => unknown, errorClass: ErrorClass): ProviderError {
  try {
    run();
  } catch (error) {
    assert.instance(error, ProviderError);
    assert.is((error as ProviderError).class, errorClass);
    return error as ProviderError;
  }
  throw new Error(`nothing was thrown; expected ${errorClass}`);
}

export async function rejectsClass(promise: Promise<unknown>, errorClass: ErrorClass): Promise<ProviderError> {
  const outcome = await promise.then(
    () => undefined,
    (error: unknown) => ({ error }),
  );
  if (outcome === undefined) throw new Error(`nothing was thrown; expected ${errorClass}`);
  return throwsClass(() => {
    throw outcome.error;
  }, errorClass);
}
