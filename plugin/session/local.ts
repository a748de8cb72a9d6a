// What can be told of a credential without asking anybody: from when to when it can be sent, or why it never can.

import { type Cause, causeOf } from '../../shared/errors/cause.ts';
import { type ErrorClass, ProviderError } from '../../shared/errors/error.ts';
import type { Validity } from '../auth/methods/method.ts';
import type { Local } from './trials.ts';

/** A CA has no time of its own here: its certificates are checked with each handshake. */
export const timelessCa: Local = {
  kind: 'timed',
  fromUnixMs: Number.NEGATIVE_INFINITY,
  untilUnixMs: Number.POSITIVE_INFINITY,
  early: causeOfClass('ca_invalid'),
  over: causeOfClass('ca_invalid'),
};
export const unusableCa: Local = { kind: 'unusable', cause: causeOfClass('ca_invalid') };

export function localOfValidity({ early, over, ...span }: Validity): Local {
  return { kind: 'timed', ...span, early: causeOfClass(early), over: causeOfClass(over) };
}

function causeOfClass(errorClass: ErrorClass): Cause {
  return causeOf(new ProviderError(errorClass, ''));
}
