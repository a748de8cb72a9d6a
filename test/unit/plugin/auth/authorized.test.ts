// The cause comes first: a call that was never made because there was no token does not take the blame for the login.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createAuthorizedSend } from '../../../../plugin/auth/authorized.ts';
import type { Tokens } from '../../../../plugin/auth/tokens.ts';
import type { Http } from '../../../../plugin/openbao/client.ts';
import { operations } from '../../../../plugin/openbao/operations.ts';
import {
  deepFailure,
  failedAt,
  isOfOpenBao,
  metadataFailure,
  reasonOfMetadata,
  retryAfterOf,
} from '../../../../plugin/probes/probe-failure.ts';
import { causeOf, hintOf } from '../../../../shared/errors/cause.ts';
import { ProviderError } from '../../../../shared/errors/error.ts';

const rejected = new ProviderError('auth_rejected', 'the hint', { facts: { detail: 'audience', status: 400 } });
const denial = { status: 403, contentType: 'application/json', retryAfter: '', date: '' };

/** What one call over these tokens throws. */
async function thrownBy(tokens: Partial<Tokens>, more: { readonly mayRecover?: false } = {}): Promise<unknown> {
  const http = { send: async () => ({ ...denial, body: Buffer.from('{"errors":["permission denied"]}') }) };
  const send = createAuthorizedSend({
    http: () => http as unknown as Http,
    tokens: tokens as Tokens,
    timeoutMs: 1_000,
    nowMs: () => 0,
    record: () => {},
  });
  return send({ operation: operations.upsertRead, path: 'transit/config/keys', ...more }).then(
    () => undefined,
    (error: unknown) => error,
  );
}

/** As the metadata probe catches it at its first step. */
function caughtAtUpsert(error: unknown): unknown {
  try {
    return failedAt('upsert_check_failed')(error);
  } catch (caught) {
    return caught;
  }
}

test('without a token the probe fails with reason login_failed and the cause of the login', async () => {
  const caught = caughtAtUpsert(await thrownBy({ token: () => Promise.reject(rejected) }));

  assert.is(reasonOfMetadata(caught), 'login_failed');
  assert.is(deepFailure(caught).reason, 'login_failed');
  assert.equal(causeOf(caught), { class: 'auth_rejected', detail: 'audience', httpStatus: 400 });
  assert.is(metadataFailure(caught).cause.class, 'auth_rejected');
  assert.is(hintOf(caught), 'the hint');
});

test('a token that died and could not be replaced is a login that failed', async () => {
  const tokens = { token: async () => 's.dead', recover: () => Promise.reject(rejected) };

  assert.is(reasonOfMetadata(caughtAtUpsert(await thrownBy(tokens))), 'login_failed');
});

test('a denial of the call itself with a living token stays the failure of the call', async () => {
  const caught = caughtAtUpsert(await thrownBy({ token: async () => 's.alive', recover: async () => undefined }));

  assert.is(reasonOfMetadata(caught), 'upsert_check_failed');
  assert.is(metadataFailure(caught).cause.class, 'permission_denied');
  assert.is(deepFailure(caught).reason, 'deep_probe_failed');
});

test('a login that fails counts for the breaker and keeps the wait that OpenBao asked for', async () => {
  const limited = new ProviderError('bao_rate_limited', '', { facts: { retryAfterMs: 7_000 } });
  const caught = caughtAtUpsert(await thrownBy({ token: () => Promise.reject(limited) }));

  assert.ok(isOfOpenBao(caught));
  assert.is(retryAfterOf(caught), 7_000);
});

test('a caller who is gone is no failed login', async () => {
  const canceled = new ProviderError('canceled', 'gone');

  assert.is(await thrownBy({ token: () => Promise.reject(canceled) }), canceled);
});

test('of several errors the outermost that has a fact of the right kind tells it, and the outermost has the hint', () => {
  const inner = new ProviderError('bao_unavailable', 'inner', { facts: { detail: 'audience', status: 400 } });
  const outer = new ProviderError('auth_rejected', 'outer', { cause: inner, facts: { detail: 7, status: 503 } });

  assert.equal(causeOf(outer), { class: 'auth_rejected', detail: 'audience', httpStatus: 503 });
  assert.is(hintOf(outer), 'outer');
});

for (const [status, errors, isRecovered] of [
  [401, ['token is gone'], true],
  [403, ['permission denied'], true],
  [400, ['wrong'], false],
  [404, [], false],
  [429, ['quota'], false],
  [503, ['Vault is sealed'], false],
] as const) {
  test(`after status ${status} the call is ${isRecovered ? '' : 'not '}made once more with another token`, async () => {
    const used: { readonly token: string | undefined; readonly isLast: boolean | undefined }[] = [];
    const http = {
      send: async ({ token, isLast }: Parameters<Http['send']>[0]) => {
        used.push({ token, isLast });
        return { ...denial, status, body: Buffer.from(JSON.stringify({ errors })) };
      },
    };
    const send = createAuthorizedSend({
      http: () => http as unknown as Http,
      tokens: { token: async () => 's.one', recover: async () => 's.two' } as unknown as Tokens,
      timeoutMs: 1_000,
      nowMs: () => 0,
      record: () => {},
    });
    await send({ operation: operations.decrypt, path: 'transit/decrypt/k' }).catch(() => undefined);

    const first = { token: 's.one', isLast: false };
    assert.equal(used, isRecovered ? [first, { token: 's.two', isLast: false }] : [first]);
  });
}

test('a call whose first answer was a second one already is not sent twice again', async () => {
  const last: (boolean | undefined)[] = [];
  const http = {
    send: async ({ isLast }: Parameters<Http['send']>[0]) => {
      last.push(isLast);
      return { ...denial, wasRepeated: true, body: Buffer.from('{"errors":["permission denied"]}') };
    },
  };
  const observed: (string | undefined)[] = [];
  let nowMs = 0;
  const send = createAuthorizedSend({
    http: () => http as unknown as Http,
    tokens: { token: async () => 's.one', recover: async () => 's.two' } as unknown as Tokens,
    timeoutMs: 1_000,
    nowMs: () => (nowMs += 5),
    record: ({ label, durationMs, error }) => observed.push(`${label} ${durationMs} ${causeOf(error).class}`),
  });
  await send({ operation: operations.decrypt, path: 'transit/decrypt/k' }).catch(() => undefined);

  assert.equal(last, [false, true]);
  assert.equal(observed, Array(2).fill('transit_decrypt 5 permission_denied'));
});

test('a call that may not recover asks for no other token, whatever the refusal', async () => {
  let recoveries = 0;
  const tokens = {
    token: async () => 's.t',
    recover: async () => {
      recoveries += 1;
      return undefined;
    },
  };
  await thrownBy(tokens);
  assert.is(recoveries, 1);
  const thrown = await thrownBy(tokens, { mayRecover: false });

  assert.is(recoveries, 1);
  assert.is(causeOf(thrown).class, 'permission_denied');
});

test.run();
