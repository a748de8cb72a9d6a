// A login with a JWT at an OpenBao whose answers are played, and what its refusal is told as.

import { type JwtLoginOptions, loginWithJwt } from '../../plugin/auth/methods/jwt.ts';
import type { Http, HttpCall, HttpReply } from '../../plugin/openbao/client.ts';
import { type Cause, causeOf } from '../../shared/errors/cause.ts';
import { errorChain } from '../../shared/errors/error.ts';

export const nowUnixMs = Date.UTC(2026, 10, 26, 12, 0, 0);
export const encryptPath = 'transit/encrypt/k8s';
export const options: JwtLoginOptions = {
  mountPath: 'auth/jwt',
  role: 'kms',
  loginBeforeTokenExpiryMs: 300_000,
  tokenRenewalIncrementMs: 3_600_000,
  clockSkewLeewayMs: 30_000,
  encryptPath,
  wallMs: () => nowUnixMs,
};
export const sent = { timeoutMs: 1_000, signal: new AbortController().signal };

export type Played = { readonly status: number; readonly body: unknown; readonly dateMs?: number };
export const error = (status: number, ...errors: string[]): Played => ({ status, body: { errors } });
export const wrapped = (status: number, text: string) => error(status, `1 error occurred:\n\t* ${text}\n\n`);
export const grant = (auth: Record<string, unknown>): Played => ({
  status: 200,
  body: {
    data: null,
    auth: { client_token: 's.token', lease_duration: 1800, renewable: true, policies: ['kms'], num_uses: 0, ...auth },
  },
});

/** Answers by the path and by whether the JWT came along; tells what was asked. */
export function play(answer: (call: HttpCall) => Played): { readonly http: Http; readonly calls: HttpCall[] } {
  const calls: HttpCall[] = [];
  const send = async (call: HttpCall): Promise<HttpReply> => {
    calls.push(call);
    const { status, body, dateMs } = answer(call);
    const head = {
      status,
      contentType: 'application/json',
      retryAfter: '',
      date: new Date(dateMs ?? nowUnixMs).toUTCString(),
    };
    return { ...head, body: Buffer.from(JSON.stringify(body)) };
  };
  return { http: { send, close: async () => {} } as unknown as Http, calls };
}

export async function causeOfLogin(answer: (call: HttpCall) => Played): Promise<Cause & { readonly message: string }> {
  try {
    await loginWithJwt(play(answer).http, options, 'head.payload.signature', sent);
  } catch (thrown) {
    return { ...causeOf(thrown), message: errorChain(thrown)[0]?.message ?? '' };
  }
  throw new Error('the login was granted');
}
