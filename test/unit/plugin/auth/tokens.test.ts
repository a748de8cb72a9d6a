// Tokens: one flight for all, renewal ahead, back-off, what a rejected token costs.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Grant, isTokenAlive, renewToken } from '../../../../plugin/auth/login.ts';
import { loginWithJwt } from '../../../../plugin/auth/methods/jwt.ts';
import { Tokens } from '../../../../plugin/auth/tokens.ts';
import type { Http, HttpCall } from '../../../../plugin/openbao/client.ts';
import { ProviderError } from '../../../../shared/errors/error.ts';
import { startAge } from '../../../../shared/time/age.ts';
import { doublingDelayMs, jitterMs } from '../../../../shared/time/backoff.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';
import { rejectsClass } from '../../../support/throws.ts';

test('doubling reaches its cap and does not overflow; jitter stays within a quarter and the cap', () => {
  assert.equal(
    [1, 2, 3, 7, 8, 5_000].map((failures) => doublingDelayMs(failures, 1_000, 60_000)),
    [1_000, 2_000, 4_000, 60_000, 60_000, 60_000],
  );
  assert.is(jitterMs(1_000, 0, 60_000), 750);
  assert.is(jitterMs(60_000, 0.999, 60_000), 60_000);
});

test('an age never becomes younger and the greater clock counts', () => {
  const clock = createFakeClock();
  const age = startAge(clock);
  clock.jumpWall(50_000);
  assert.is(age.ageMs(), 50_000);
  clock.jumpWall(-80_000);
  assert.is(age.ageMs(), 50_000);
});

function createBench(
  options: {
    readonly login?: () => Promise<Grant>;
    readonly isAlive?: () => boolean;
    readonly isRenewable?: boolean;
  } = {},
) {
  const clock = createFakeClock();
  const calls: string[] = [];
  let count = 0;
  const grant = (): Grant => {
    count += 1;
    return { token: `t${count}`, leaseMs: 1_800_000, isRenewable: options.isRenewable ?? true };
  };
  const tokens = new Tokens({
    clock,
    random: () => 0,
    login: async (_, isTrial) => {
      calls.push(isTrial ? 'trial' : 'login');
      return options.login === undefined ? grant() : options.login();
    },
    renew: async (token) => {
      calls.push(`renew ${token}`);
      return { token: undefined, leaseMs: 1_800_000, isRenewable: true };
    },
    isAlive: async () => options.isAlive?.() ?? false,
    settings: { loginBeforeTokenExpiryMs: 300_000, loginTimeoutMs: 5_000 },
    record: () => {},
  });
  return { clock, calls, tokens };
}

test('a hundred callers without a token share one login', async () => {
  const { calls, tokens } = createBench();
  const answers = await Promise.all(Array.from({ length: 100 }, () => tokens.token()));

  assert.equal(new Set(answers), new Set(['t1']));
  assert.equal(calls, ['login']);
});

test('a token is renewed ahead of its end by a timer, and goes on being served meanwhile', async () => {
  const { clock, calls, tokens } = createBench();
  await tokens.token();
  await clock.advance(1_499_999);
  assert.equal(calls, ['login']);
  await clock.advance(1);

  assert.equal(calls, ['login', 'renew t1']);
  assert.is(await tokens.token(), 't1');
});

test('a renewal begins a new lease of the same token: it lives on, and is renewed again ahead of its new end', async () => {
  const { clock, calls, tokens } = createBench();
  await tokens.token();
  await clock.advance(1_500_000);
  assert.is(tokens.status().ttlMs, 1_800_000);
  await clock.advance(1_499_999);
  assert.equal([calls, tokens.hasToken()], [['login', 'renew t1'], true]);
  await clock.advance(1);

  assert.equal(calls, ['login', 'renew t1', 'renew t1']);
});

test('a token is none any more at the very end of its lease', async () => {
  let logins = 0;
  const login = async (): Promise<Grant> => {
    logins += 1;
    if (logins > 1) throw new ProviderError('bao_sealed', '');
    return { token: 't', leaseMs: 1_000_000, isRenewable: false };
  };
  const { clock, tokens } = createBench({ login });
  await tokens.token();
  await clock.advance(999_999);
  assert.is(tokens.hasToken(), true);
  await clock.advance(1);
  assert.is(tokens.hasToken(), false);
});

test('a login that grants no token takes none away, and is none', async () => {
  let token: string | undefined = 't';
  const { clock, tokens } = createBench({ login: async () => ({ token, leaseMs: 1_800_000, isRenewable: false }) });
  await tokens.token();
  token = undefined;
  await clock.advance(1_000);
  await tokens.loginNow();
  assert.is(await tokens.token(), 't');
  const without = createBench({ login: async () => ({ token: undefined, leaseMs: 1_800_000, isRenewable: false }) });
  await without.tokens.loginNow();
  assert.equal([without.tokens.hasToken(), without.tokens.status().status], [false, 'unknown']);
});

test('a login and a renewal are told with how long they took, and a failure with its error', async () => {
  const clock = createFakeClock();
  const told: string[] = [];
  const after = <T>(ms: number, end: () => T) =>
    new Promise<T>((resolve, reject) => {
      clock.after(ms, () => {
        try {
          resolve(end());
        } catch (error) {
          reject(error);
        }
      });
    });
  const tokens = new Tokens({
    clock,
    random: () => 0,
    login: () => after(300, () => ({ token: 't', leaseMs: 1_000_000, isRenewable: true })),
    renew: () =>
      after(200, () => {
        throw new ProviderError('bao_sealed', '');
      }),
    isAlive: async () => true,
    settings: { loginBeforeTokenExpiryMs: 300_000, loginTimeoutMs: 5_000 },
    record: ({ kind, durationMs, error }) =>
      told.push(`${kind} ${durationMs} ${error === undefined ? 'ok' : 'failed'}`),
  });
  await clock.advance(7_000);
  void tokens.token();
  await clock.advance(300);
  assert.equal(told, ['login 300 ok']);
  await clock.advance(701_000);
  assert.equal(told, ['login 300 ok', 'renewal 200 failed', 'login 300 ok']);
  tokens.stop();
});

test('a token that cannot be renewed is replaced by a login ahead of its end', async () => {
  const { clock, calls, tokens } = createBench({ isRenewable: false });
  await tokens.token();
  await clock.advance(1_500_000);

  assert.equal(calls, ['login', 'login']);
  assert.is(await tokens.token(), 't2');
});

test('a clock set forward ends the token early, a clock set back never revives it', async () => {
  const { clock, tokens } = createBench();
  await tokens.token();
  await clock.advance(1_000);
  clock.jumpWall(1_800_001);
  assert.is(tokens.status().ttlMs, 0);
  clock.jumpWall(-1_800_001);
  assert.is(tokens.status().ttlMs, 0);
  assert.is(await tokens.token(), 't2');
});

test('a failed login is answered to all and not repeated before its back-off', async () => {
  const { clock, calls, tokens } = createBench({ login: () => Promise.reject(new ProviderError('bao_sealed', '')) });
  await rejectsClass(tokens.token(), 'bao_sealed');
  await rejectsClass(tokens.token(), 'bao_sealed');
  assert.is(calls.length, 1);
  // The back-off of 750 ms is over before the second between two logins.
  await clock.advance(1_000);
  await rejectsClass(tokens.token(), 'bao_sealed');
  assert.is(calls.length, 2);
  await clock.advance(1_499);
  await rejectsClass(tokens.token(), 'bao_sealed');
  assert.is(calls.length, 2);
});

test('a login that does not end counts as failed at its deadline', async () => {
  const clock = createFakeClock();
  const tokens = new Tokens({
    clock,
    random: () => 0,
    login: (signal) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
    renew: () => Promise.reject(new Error('unused')),
    isAlive: async () => true,
    settings: { loginBeforeTokenExpiryMs: 300_000, loginTimeoutMs: 5_000 },
    record: () => {},
  });
  const waiting = rejectsClass(tokens.token(), 'timeout');
  await clock.advance(5_000);
  await waiting;
});

test('a waiter that leaves does not end the login of the others', async () => {
  const hold = Promise.withResolvers<Grant>();
  const { tokens } = createBench({ login: () => hold.promise });
  const controller = new AbortController();
  const leaving = rejectsClass(tokens.token(controller.signal), 'canceled');
  const staying = tokens.token();
  controller.abort(new ProviderError('canceled', ''));
  await leaving;
  hold.resolve({ token: 'late', leaseMs: 1_800_000, isRenewable: true });

  assert.is(await staying, 'late');
});

test('a dead token is let go at once and replaced', async () => {
  const { clock, calls, tokens } = createBench({ isAlive: () => false });
  await tokens.token();
  await clock.advance(1_000);

  assert.is(await tokens.recover('t1'), 't2');
  assert.equal(calls, ['login', 'login']);
});

test('tokens that die again and again are replaced each time, a second apart, and no denial is counted', async () => {
  let isAlive = false;
  const { clock, calls, tokens } = createBench({ isAlive: () => isAlive });
  await tokens.token();
  for (let count = 1; count <= 20; count += 1) {
    const replacing = tokens.recover(`t${count}`);
    await clock.advance(999);
    assert.is(calls.length, count, 'the floor of a second');
    await clock.advance(1);
    assert.is(await replacing, `t${count + 1}`);
  }

  isAlive = true;
  await clock.advance(1_000);
  assert.is(await tokens.recover('t21'), 't22', 'the first denial of a living token is no later one');
  assert.is(await tokens.recover('t22'), undefined);
  await clock.advance(3_750);
  assert.is(await tokens.recover('t22'), 't23', 'the series of denials began at 5 s');
});

test('late news about an old token cost no login', async () => {
  const { clock, calls, tokens } = createBench();
  await tokens.token();
  await clock.advance(1_000);
  await tokens.recover('t1');

  assert.is(await tokens.recover('t1'), 't2');
  assert.is(calls.length, 2);
});

test('recoveries are at least 5, 10, 20 s apart, even though each login succeeds', async () => {
  const { clock, calls, tokens } = createBench({ isAlive: () => true });
  await tokens.token();
  await clock.advance(1_000);
  assert.is(await tokens.recover('t1'), 't2');
  assert.is(await tokens.recover('t2'), undefined, 'throttled: the refusal stands');
  assert.is(await tokens.token(), 't2', 'a denied operation does not take the token from the others');
  await clock.advance(3_750);
  assert.is(await tokens.recover('t2'), 't3');
  await clock.advance(7_499);
  assert.is(await tokens.recover('t3'), undefined);
  await clock.advance(1);
  assert.is(await tokens.recover('t3'), 't4');
  assert.is(calls.length, 4);
});

test('ten quiet minutes forget the rejections', async () => {
  const { clock, tokens } = createBench({ isAlive: () => true, isRenewable: true });
  await tokens.token();
  await clock.advance(1_000);
  await tokens.recover('t1');
  await clock.advance(600_000);
  await tokens.recover('t2');
  await clock.advance(3_750);

  assert.is(await tokens.recover('t3'), 't4', 'the series began again at 5 s');
});

test('a trial logs in whatever the back-off says, and the old token stays in use meanwhile', async () => {
  const hold = Promise.withResolvers<Grant>();
  const answers = [Promise.resolve<Grant>({ token: 'old', leaseMs: 1_800_000, isRenewable: true }), hold.promise];
  const { tokens, clock, calls } = createBench({ login: () => answers.shift() ?? hold.promise });
  await tokens.token();
  await clock.advance(1_000);
  const proving = tokens.loginNow();
  await clock.settle();
  assert.is(await tokens.token(), 'old');
  hold.resolve({ token: 'new', leaseMs: 1_800_000, isRenewable: true });
  await proving;

  assert.is(await tokens.token(), 'new');
  assert.equal(calls, ['login', 'trial']);
});

test('a trial that fails counts for nothing while a token is alive', async () => {
  let isGood = true;
  const login = async (): Promise<Grant> => {
    if (!isGood) throw new ProviderError('auth_rejected', '');
    return { token: 'old', leaseMs: 1_800_000, isRenewable: true };
  };
  const { tokens, clock } = createBench({ login });
  await tokens.token();
  isGood = false;
  await clock.advance(1_000);
  await tokens.loginNow();

  assert.equal(tokens.status(), { status: 'authenticated', ttlMs: 1_799_000, consecutiveFailures: 0 });
  assert.is(await tokens.token(), 'old');
});

test('a login that is stopped in its floor of a second is not made', async () => {
  const { tokens, clock, calls } = createBench();
  await tokens.token();
  const late = tokens.loginNow();
  tokens.stop();
  await clock.advance(1_000);
  await late;

  assert.equal(calls, ['login']);
});

test('while logins fail, calls in the window of a living token do not make one each', async () => {
  let isGood = true;
  const login = async (): Promise<Grant> => {
    if (!isGood) throw new ProviderError('bao_unavailable', '');
    return { token: 't1', leaseMs: 1_800_000, isRenewable: false };
  };
  const { clock, calls, tokens } = createBench({ login });
  await tokens.token();
  isGood = false;
  await clock.advance(1_500_000);
  for (let second = 0; second < 60; second += 1) {
    assert.is(await tokens.token(), 't1');
    await clock.advance(1_000);
  }

  assert.ok(calls.length >= 4 && calls.length <= 9, `${calls.length} logins`);
});

test('a renewal that ends after its token was found dead does not bring the token back', async () => {
  const clock = createFakeClock();
  const renewal = Promise.withResolvers<Grant>();
  let count = 0;
  const tokens = new Tokens({
    clock,
    random: () => 0,
    login: async () => {
      count += 1;
      return { token: `t${count}`, leaseMs: 1_800_000, isRenewable: true };
    },
    renew: () => renewal.promise,
    isAlive: async () => false,
    settings: { loginBeforeTokenExpiryMs: 300_000, loginTimeoutMs: 5_000 },
    record: () => {},
  });
  await tokens.token();
  await clock.advance(1_500_000);
  const recovered = tokens.recover('t1').catch(() => undefined);
  await clock.settle();
  renewal.resolve({ token: undefined, leaseMs: 1_800_000, isRenewable: true });
  await clock.advance(1_000);

  assert.is.not(await recovered, 't1');
  assert.is(await tokens.token(), 't2');
});

test('a hundred denials within a second are one question about the token', async () => {
  let asked = 0;
  const isAlive = () => {
    asked += 1;
    return true;
  };
  const { clock, tokens } = createBench({ isAlive });
  await tokens.token();
  await clock.advance(1_000);
  await tokens.recover('t1');
  assert.is(asked, 1);
  await Promise.all(Array.from({ length: 100 }, () => tokens.recover('t2')));
  assert.is(asked, 2);
  await clock.advance(1_000);
  await tokens.recover('t2');

  assert.is(asked, 3);
});

test('what is known of one token says nothing about the next', async () => {
  const answers = [true, false];
  const { clock, tokens } = createBench({ isAlive: () => answers.shift() ?? false });
  await tokens.token();
  await clock.advance(1_000);
  assert.is(await tokens.recover('t1'), 't2', 'a new login although it lives');
  const replacing = tokens.recover('t2');
  await clock.advance(1_000);

  assert.is(await replacing, 't3', 'dead, and replaced');
});

test('a trial behind a login that runs is a login of its own', async () => {
  const hold = Promise.withResolvers<Grant>();
  const { tokens, clock, calls } = createBench({ login: () => hold.promise });
  const waiting = tokens.token();
  const proving = tokens.loginNow();
  await clock.settle();
  assert.equal(calls, ['login']);
  hold.resolve({ token: 't1', leaseMs: 1_800_000, isRenewable: true });
  await waiting;
  await clock.advance(1_000);
  await proving;

  assert.equal(calls, ['login', 'trial']);
});

test('processes that were started together renew up to a tenth of the window apart', async () => {
  const clock = createFakeClock();
  const renewals: string[] = [];
  for (const random of [0, 0.5]) {
    const tokens = new Tokens({
      clock,
      random: () => random,
      login: async () => ({ token: 't', leaseMs: 1_800_000, isRenewable: true }),
      renew: async () => {
        renewals.push(`${random} at ${clock.nowMs() / 1000} s`);
        return { token: undefined, leaseMs: 1_800_000, isRenewable: true };
      },
      isAlive: async () => true,
      settings: { loginBeforeTokenExpiryMs: 300_000, loginTimeoutMs: 5_000 },
      record: () => {},
    });
    await tokens.token();
  }
  await clock.advance(1_600_000);

  assert.equal(renewals, ['0 at 1500 s', '0.5 at 1515 s']);
});

function answering(status: number, body: unknown): { readonly http: Http; readonly calls: HttpCall[] } {
  const calls: HttpCall[] = [];
  const send = async (call: HttpCall) => {
    calls.push(call);
    const bytes = Buffer.from(JSON.stringify(body));
    return { status, contentType: 'application/json', retryAfter: '', date: '', body: bytes };
  };
  return { http: { send } as unknown as Http, calls };
}

const loginOptions = {
  mountPath: 'auth/jwt',
  role: 'kms',
  loginBeforeTokenExpiryMs: 300_000,
  tokenRenewalIncrementMs: 1_500,
  clockSkewLeewayMs: 30_000,
  encryptPath: 'transit/encrypt/k8s',
  wallMs: () => 1_750_000_000_000,
  refusals: [],
};
const sent = { timeoutMs: 1_000, signal: new AbortController().signal };
const granted = (token: string) => ({ auth: { client_token: token, lease_duration: 1_800, renewable: true } });

for (const [status, text, isAlive] of [
  [200, '', true],
  [401, 'anything', false],
  [403, 'permission denied', false],
  [403, '1 error occurred:\n\t* permission denied\n\n', true],
  [503, 'permission denied', true],
] as const) {
  test(`a token that is answered ${status} ${JSON.stringify(text)} is ${isAlive ? 'alive' : 'dead'}`, async () => {
    assert.is(await isTokenAlive(answering(status, { errors: [text] }).http, 's.t', sent), isAlive);
  });
}

test('a renewal asks for whole seconds, rounded up', async () => {
  const { http, calls } = answering(200, granted('s.t'));
  await renewToken(http, loginOptions, 's.t', sent);

  assert.equal(calls[0]?.body, { increment: '2s' });
});

test('a token that no header can carry is no token', async () => {
  for (const token of ['s.a\nb', 's.ä', `s.${'x'.repeat(8_191)}`]) {
    await rejectsClass(loginWithJwt(answering(200, granted(token)).http, loginOptions, 'a.b.c', sent), 'auth_rejected');
  }
  const longest = `s.${'x'.repeat(8_190)}`;
  assert.is((await loginWithJwt(answering(200, granted(longest)).http, loginOptions, 'a.b.c', sent)).token, longest);
});

test.run();
