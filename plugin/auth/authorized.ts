// A request with a token: gets one, sends, and after a 401 or 403 recovers and tries exactly once more. Never more than two extra
// requests for one call: when the first was sent twice already, the second is sent once.

import { ProviderError } from '../../shared/errors/error.ts';
import type { SendAuthorized } from '../openbao/authorized.ts';
import type { Http } from '../openbao/client.ts';
import { readReply } from '../openbao/response.ts';
import { asLoginFailure } from './login-failure.ts';
import type { Tokens } from './tokens.ts';

export type RequestEvent = {
  readonly operation: string;
  readonly label: string;
  readonly durationMs: number;
  readonly requestId?: string | undefined;
  readonly error?: unknown;
};

export type AuthorizedDeps = {
  readonly http: () => Http;
  readonly tokens: Pick<Tokens, 'token' | 'recover'>;
  readonly timeoutMs: number;
  readonly nowMs: () => number;
  readonly record: (event: RequestEvent) => void;
};

export function createAuthorizedSend(deps: AuthorizedDeps): SendAuthorized {
  const send = async (call: Parameters<SendAuthorized>[0], token: string, isLast = false) => {
    const startedAtMs = deps.nowMs();
    // control: authorized.noted-operation
    const event = { operation: call.operation.name, label: call.operation.label };
    try {
      const { operation, path, body, signal } = call;
      const options = { ...(body === undefined ? {} : { body }), ...(signal === undefined ? {} : { signal }) };
      const reply = await deps.http().send({ operation, path, token, timeoutMs: deps.timeoutMs, isLast, ...options });
      const answer = readReply(operation, reply);
      deps.record({ ...event, durationMs: deps.nowMs() - startedAtMs, requestId: answer.requestId });
      return answer;
    } catch (error) {
      deps.record({ ...event, durationMs: deps.nowMs() - startedAtMs, error });
      throw error;
    }
  };
  return async (call) => {
    const token = await deps.tokens.token(call.signal).catch(asLoginFailure);
    try {
      return await send(call, token);
    } catch (error) {
      if (call.mayRecover === false || !isRejectedToken(error)) throw error;
      const replacement = await deps.tokens.recover(token, call.signal).catch(asLoginFailure);
      if (replacement === undefined) throw error;
      return send(call, replacement, wasRepeated(error));
    }
  };
}

function isRejectedToken(error: unknown): boolean {
  return (
    error instanceof ProviderError && (error.class === 'bao_unauthenticated' || error.class === 'bao_permission_denied')
  );
}

function wasRepeated(error: unknown): boolean {
  return error instanceof ProviderError && error.facts['wasRepeated'] === true;
}
