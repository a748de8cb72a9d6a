// How a request with a token is sent: whoever asks OpenBao for something knows this and nothing of logins.

import type { Operation } from '../http/operation.ts';
import type { BaoBody } from './response.ts';

/** One request with a token, as the login side sends it. */
export type SendAuthorized = (call: {
  readonly operation: Operation;
  readonly path: string;
  readonly body?: unknown;
  readonly signal?: AbortSignal | undefined;
  /** False: a denial stands at once, without a new login. */
  readonly mayRecover?: boolean;
}) => Promise<BaoBody>;
