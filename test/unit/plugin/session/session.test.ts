// The session performs what the machine of trials decides: which credential a login uses, when a candidate is tried, what is
// told, and what is let go. OpenBao and its pools are played.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Grant } from '../../../../plugin/auth/login.ts';
import { createJwtLogin } from '../../../../plugin/auth/methods/jwt.ts';
import { checkJwt } from '../../../../plugin/auth/methods/jwt-claims.ts';
import { Tokens } from '../../../../plugin/auth/tokens.ts';
import type { Http } from '../../../../plugin/openbao/client.ts';
import { Session } from '../../../../plugin/session/session.ts';
import type { PluginMessage } from '../../../../shared/channel/messages.ts';
import { ProviderError } from '../../../../shared/errors/error.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';
import { rejectsClass, throwsClass } from '../../../support/throws.ts';

type Result = Extract<PluginMessage, { kind: 'credential_result' }>;

const jwtRules = {
  mountPath: 'auth/jwt',
  role: 'kms',
  minRemainingTtlMs: 120_000,
  clockSkewLeewayMs: 30_000,
  expectedIssuer: '',
  expectedAudience: ['kms'],
  expectedSubject: '',
  jwtFile: '',
  source: 'file',
};
const times = { loginBeforeTokenExpiryMs: 300_000, tokenRenewalIncrementMs: 3_600_000, loginTimeoutMs: 5_000 };

/** OpenBao accepts CAs and JWTs by their names. */
function createBench() {
  const clock = createFakeClock();
  const startedAtUnixMs = clock.wallMs();
  const accepts = { ca: new Set(['ca1']), jwt: new Set(['jwt1']), isSilent: false };
  /** What an answer waits for. */
  const answers: { hold: Promise<void> | undefined } = { hold: undefined };
  const told: string[] = [];
  const logins: string[] = [];
  const closed: string[] = [];
  /** The very bytes of each CA, as they were handed over. */
  const seen: Buffer[] = [];
  const results: Result[] = [];
  const stopped = new AbortController();
  const check = (ca: string) => {
    if (accepts.isSilent) throw new ProviderError('timeout', 'silent');
    if (!accepts.ca.has(ca)) throw new ProviderError('bao_tls_failed', 'tls', { facts: { detail: 'untrusted_ca' } });
  };
  const httpOf = (ca: string): Http & { readonly ca: string } => ({
    ca,
    send: () => Promise.reject(new Error('unused')),
    handshake: async () => {
      await answers.hold;
      check(ca);
    },
    close: async () => void closed.push(ca),
  });
  const login = async (http: Http, { jwt }: { readonly jwt: Buffer }): Promise<Grant> => {
    const { ca } = http as Http & { readonly ca: string };
    const name = nameOf(checkJwt(jwt, jwtRules, clock.wallMs()).text);
    logins.push(`${ca} ${name}`);
    await answers.hold;
    check(ca);
    if (!accepts.jwt.has(name)) throw new ProviderError('auth_rejected', 'no', { facts: { detail: 'signature' } });
    return { token: `token of ${name}`, leaseMs: 1_800_000, isRenewable: true };
  };
  const session: Session = new Session({
    clock,
    random: () => 0,
    method: {
      ...createJwtLogin({
        auth: { ...times, method: 'jwt', jwt: jwtRules },
        options: { ...times, encryptPath: '' },
        wallMs: clock.wallMs,
      }),
      login,
    },
    openPools: (bytes) => {
      const ca = bytes.toString();
      seen.push(bytes);
      if (ca === '') throw new ProviderError('ca_invalid', 'empty');
      return { login: httpOf(ca), transit: httpOf(ca), trustEndsAtUnixMs: startedAtUnixMs + 7_200_000 };
    },
    loginNow: () => tokens.loginNow(),
    hasToken: () => tokens.hasToken(),
    timeoutMs: times.loginTimeoutMs,
    send: (message) => {
      if (message.kind !== 'credential_result') return;
      results.push(message);
      told.push(`${message.name} ${message.generation} ${message.result} ${message.detail ?? ''}`.trim());
    },
    stopped: stopped.signal,
  });
  const tokens = new Tokens({
    clock,
    random: () => 0,
    login: session.login,
    renew: () => Promise.reject(new ProviderError('auth_rejected', 'no renewal')),
    isAlive: async () => false,
    settings: times,
    record: () => {},
  });
  const offer = (name: 'openbao_ca' | 'jwt', generation: number, bytes: Buffer | string) =>
    session.offer({
      kind: 'credential',
      name,
      generation,
      modifiedAtUnixMs: 0,
      bytes: Buffer.from(bytes).toString('base64'),
    });
  const jwt = (name: string, claims: Record<string, unknown> = {}) => {
    const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const nowSeconds = Math.floor(clock.wallMs() / 1000);
    return `${part({ alg: 'ES256' })}.${part({ sub: name, aud: 'kms', exp: nowSeconds + 3_600, ...claims })}.c2ln`;
  };
  const begin = async () => {
    offer('openbao_ca', 1, 'ca1');
    offer('jwt', 1, jwt('jwt1'));
    await clock.settle();
    await clock.advance(1_000);
  };
  const end = () => {
    stopped.abort();
    tokens.stop();
    return session.close();
  };
  return {
    clock,
    accepts,
    answers,
    told,
    results,
    logins,
    closed,
    seen,
    stopped,
    session,
    tokens,
    offer,
    jwt,
    begin,
    end,
  };
}

function nameOf(jwt: string): string {
  const claims = JSON.parse(Buffer.from(jwt.split('.')[1] ?? '', 'base64url').toString()) as { sub: string };
  return claims.sub;
}

test('the first CA and the first JWT come into use with one login', async () => {
  const bench = createBench();
  await bench.begin();

  assert.equal(bench.told, ['openbao_ca 1 in_use', 'jwt 1 in_use']);
  assert.equal(bench.logins, ['ca1 jwt1']);
  assert.is(await bench.tokens.token(), 'token of jwt1');
  await bench.end();
});

test('before there is anything, nothing is pretended: no pools, no life of a JWT, no generation', () => {
  const { session } = createBench();
  throwsClass(() => session.pools(), 'ca_invalid');
  assert.equal([session.facts().jwtTtlMs, session.isLoginEnding()], [0, false]);
  assert.equal(session.generations(), { openbao_ca: 0, jwt: 0 });
});

test('the life of the JWT in use is counted by the wall clock, and never below nothing', async () => {
  const bench = createBench();
  await bench.begin();
  assert.is(bench.session.facts().jwtTtlMs, 3_600_000 - 1_000);
  bench.clock.jumpWall(3_600_000);
  assert.is(bench.session.facts().jwtTtlMs, 0);
  await bench.end();
});

test('the life of the trust in use is counted by the wall clock, never below nothing, and is nothing without one', async () => {
  const bench = createBench();
  assert.is(bench.session.trustTtlMs(), 0);
  await bench.begin();
  assert.is(bench.session.trustTtlMs(), 7_199_000);
  bench.clock.jumpWall(8_000_000);
  assert.is(bench.session.trustTtlMs(), 0);
  await bench.end();
});

test('at the end every pool is closed, also that of a CA which is not in use', async () => {
  const bench = createBench();
  await bench.begin();
  bench.offer('openbao_ca', 2, 'ca2');
  await bench.clock.settle();
  assert.equal(bench.closed, []);
  await bench.end();
  assert.equal(bench.closed.sort(), ['ca1', 'ca1', 'ca2', 'ca2']);
});

test('a new JWT that OpenBao does not know yet is tried again, and taken when it does; the old one serves on', async () => {
  const bench = createBench();
  await bench.begin();
  bench.offer('jwt', 2, bench.jwt('jwt2'));
  await bench.clock.advance(4_000);
  assert.equal(bench.told.slice(2), ['jwt 2 refused signature']);
  assert.is(await bench.tokens.token(), 'token of jwt1', 'what works is not touched');
  bench.accepts.jwt.add('jwt2');
  await bench.clock.advance(10_000);

  assert.equal(bench.told.slice(2), ['jwt 2 refused signature', 'jwt 2 in_use']);
  assert.is(await bench.tokens.token(), 'token of jwt2');
  assert.equal(bench.session.generations(), { openbao_ca: 1, jwt: 2 });
  await bench.end();
});

test('a JWT that is not valid yet is tried when its time comes, without a login before', async () => {
  const bench = createBench();
  await bench.begin();
  bench.accepts.jwt.add('jwt2');
  const nbf = Math.floor(bench.clock.wallMs() / 1000) + 75;
  bench.offer('jwt', 2, bench.jwt('jwt2', { nbf }));
  await bench.clock.advance(44_000);
  assert.is(bench.logins.length, 1);
  assert.is(bench.results.at(-1)?.result, 'unproven');
  const { nextTryMs = 0 } = bench.results[2] ?? {};
  assert.ok(nextTryMs > 44_000 && nextTryMs <= 46_000, `${nextTryMs}`);
  await bench.clock.advance(2_000);

  assert.equal(bench.told.slice(-1), ['jwt 2 in_use']);
  await bench.end();
});

test('a clock that jumps back while a JWT waits for its time changes nothing but the time', async () => {
  const bench = createBench();
  await bench.begin();
  bench.accepts.jwt.add('jwt2');
  const nbf = Math.floor(bench.clock.wallMs() / 1000) + 75;
  bench.offer('jwt', 2, bench.jwt('jwt2', { nbf }));
  await bench.clock.advance(40_000);
  bench.clock.jumpWall(-100_000);
  await bench.clock.advance(60_000);
  assert.is(bench.session.generations().jwt, 1);
  bench.clock.jumpWall(100_000);
  await bench.clock.advance(10_000);

  assert.is(bench.session.generations().jwt, 2);
  await bench.end();
});

test('the CA file first and the certificate seconds later: in use within 60 s, nothing is lost before', async () => {
  const bench = createBench();
  await bench.begin();
  bench.offer('openbao_ca', 2, 'ca2');
  await bench.clock.advance(4_000);
  assert.equal(bench.told.slice(2), ['openbao_ca 2 refused untrusted_ca']);
  bench.accepts.ca = new Set(['ca2']);
  await bench.clock.advance(56_000);

  assert.is(bench.session.generations().openbao_ca, 2);
  assert.equal(bench.closed, ['ca1', 'ca1'], 'both pools of the old one are let go');
  await bench.end();
});

test('a new CA that arrives after the token has ended is taken at once', async () => {
  const bench = createBench();
  await bench.begin();
  bench.accepts.ca = new Set(['ca2']);
  await bench.clock.advance(1_900_000);
  assert.is(bench.tokens.hasToken(), false);
  bench.offer('jwt', 2, bench.jwt('jwt1'));
  bench.offer('openbao_ca', 2, 'ca2');
  await bench.clock.advance(7_000);

  assert.equal(bench.session.generations(), { openbao_ca: 2, jwt: 2 });
  assert.ok(bench.tokens.hasToken());
  await bench.end();
});

test('a rebuilt cluster: CA and JWT change together and are both taken, in either order of the files', async () => {
  for (const order of [['openbao_ca', 'jwt'] as const, ['jwt', 'openbao_ca'] as const]) {
    const bench = createBench();
    await bench.begin();
    bench.accepts.ca = new Set(['ca2']);
    bench.accepts.jwt = new Set(['jwt2']);
    for (const name of order) {
      bench.offer(name, 2, name === 'jwt' ? bench.jwt('jwt2') : 'ca2');
      await bench.clock.advance(4_000);
    }
    await bench.clock.advance(5_000);

    assert.equal(bench.session.generations(), { openbao_ca: 2, jwt: 2 }, order.join(', '));
    await bench.end();
  }
});

test('a JWT for another audience is reported once, never sent, and stays the candidate', async () => {
  const bench = createBench();
  await bench.begin();
  bench.offer('jwt', 2, bench.jwt('jwt2', { aud: 'other' }));
  await bench.clock.advance(600_000);

  assert.is(bench.told.filter((line) => line.startsWith('jwt 2')).length, 1);
  assert.is(bench.results.at(-1)?.nextTryMs, undefined, 'only another file helps');
  assert.equal(bench.logins, ['ca1 jwt1']);
  assert.is(bench.session.warnings()[0]?.waitingMs, 600_000);
  await bench.end();
});

test('the bytes in use written again come into use without a login', async () => {
  const bench = createBench();
  await bench.begin();
  const same = bench.jwt('jwt1', { exp: Math.floor(bench.clock.wallMs() / 1000) + 3_599 });
  bench.offer('jwt', 2, same);
  await bench.clock.advance(10_000);
  const before = bench.logins.length;
  bench.offer('jwt', 3, same);
  await bench.clock.advance(10_000);

  assert.is(bench.logins.length, before);
  assert.is(bench.session.generations().jwt, 3);
  await bench.end();
});

test('files that change every second are tried every five, and one of them is taken', async () => {
  const bench = createBench();
  await bench.begin();
  for (let generation = 2; generation <= 40; generation += 1) {
    bench.accepts.jwt.add(`jwt${generation}`);
    bench.offer('jwt', generation, bench.jwt(`jwt${generation}`));
    await bench.clock.advance(1_000);
  }

  assert.ok(bench.logins.length <= 10, `${bench.logins.length} logins in 40 s`);
  assert.ok((bench.session.generations().jwt ?? 0) >= 30);
  await bench.end();
});

test('without a token a login is tried every five seconds, whatever the back-off of calls says', async () => {
  const bench = createBench();
  bench.accepts.jwt.clear();
  await bench.begin();
  await bench.clock.advance(300_000);
  const before = bench.logins.length;
  assert.ok(before >= 50 && before <= 75, `${before} logins`);
  bench.accepts.jwt.add('jwt1');
  await bench.clock.advance(7_000);

  assert.ok(bench.tokens.hasToken());
  await bench.end();
});

test('a JWT in use ends when no login would be tried with it any more, whatever its candidate is', async () => {
  const bench = createBench();
  await bench.begin();
  bench.offer('jwt', 2, bench.jwt('jwt2', { exp: Math.floor(bench.clock.wallMs() / 1000) + 130 }));
  await bench.clock.advance(60_000);
  assert.not.ok(bench.session.isLoginEnding(), 'the refused one ends soon, the one in use does not');
  assert.is(bench.session.facts().jwtTtlMs, 3_539_000);
  await bench.clock.advance(3_480_000);

  assert.ok(bench.session.isLoginEnding());
  await bench.end();
});

test('a CA that is no certificate is reported and changes nothing', async () => {
  const bench = createBench();
  await bench.begin();
  bench.offer('openbao_ca', 2, '');
  await bench.clock.advance(60_000);

  assert.equal(bench.told.slice(2), ['openbao_ca 2 refused']);
  assert.is(bench.session.generations().openbao_ca, 1);
  await bench.end();
});

test('an ordinary request whose TLS fails makes a waiting CA urgent', async () => {
  const bench = createBench();
  await bench.begin();
  bench.offer('openbao_ca', 2, 'ca2');
  await bench.clock.advance(300_000);
  bench.accepts.ca = new Set(['ca2']);
  bench.session.used(new ProviderError('bao_tls_failed', 'tls'));
  await bench.clock.advance(6_000);

  assert.is(bench.session.generations().openbao_ca, 2);
  await bench.end();
});

test('a warning names what waits, why, and for how long; it ends when the candidate is in use', async () => {
  const bench = createBench();
  await bench.begin();
  assert.equal(bench.session.warnings(), []);
  bench.offer('jwt', 2, bench.jwt('jwt2'));
  await bench.clock.advance(30_000);
  const [warning] = bench.session.warnings();
  assert.equal(
    [warning?.name, warning?.state, warning?.detail, warning?.waitingMs],
    ['jwt', 'refused', 'signature', 30_000],
  );
  bench.accepts.jwt.add('jwt2');
  await bench.clock.advance(60_000);

  assert.equal(bench.session.warnings(), []);
  await bench.end();
});

const forever = new AbortController().signal;

test('the bytes of a CA that is let go are overwritten', async () => {
  const bench = createBench();
  await bench.begin();
  bench.accepts.ca.add('ca2');
  bench.offer('openbao_ca', 2, 'ca2');
  await bench.clock.advance(1_000);

  assert.equal(bench.seen[0], Buffer.alloc(3));
  assert.is(bench.seen[1]?.toString(), 'ca2', 'those in use are not');
  await bench.end();
});

test('a login that fails everywhere says why its first attempt failed', async () => {
  const bench = createBench();
  await bench.begin();
  bench.offer('openbao_ca', 2, 'ca2');
  await bench.clock.advance(4_000);
  bench.accepts.ca = new Set(['ca2']);
  bench.accepts.jwt.clear();

  await rejectsClass(bench.session.login(forever, false), 'bao_tls_failed');
  assert.equal(bench.logins.slice(1), ['ca1 jwt1', 'ca2 jwt1']);
  await bench.end();
});

test('a CA in use that fails is tried last, and a request that ends for another reason does not clear it', async () => {
  const bench = createBench();
  await bench.begin();
  bench.offer('openbao_ca', 2, 'ca2');
  await bench.clock.advance(4_000);
  bench.session.used(new ProviderError('bao_tls_failed', 'tls'));
  bench.session.used(new ProviderError('timeout', 'silent'));
  bench.accepts.ca.clear();

  await rejectsClass(bench.session.login(forever, false), 'bao_tls_failed');
  assert.equal(bench.logins.slice(1), ['ca2 jwt1', 'ca1 jwt1']);
  await bench.end();
});

test('a login without an answer takes no CA into use', async () => {
  const bench = createBench();
  await bench.begin();
  bench.offer('openbao_ca', 2, 'ca2');
  await bench.clock.advance(4_000);
  bench.session.used(new ProviderError('bao_tls_failed', 'tls'));
  bench.accepts.isSilent = true;

  await rejectsClass(bench.session.login(forever, false), 'timeout');
  assert.equal(bench.logins.slice(1), ['ca2 jwt1']);
  assert.is(bench.session.generations().openbao_ca, 1);
  await bench.end();
});

test('a first CA that is no certificate is refused and not in use', async () => {
  const bench = createBench();
  bench.offer('openbao_ca', 1, '');
  await bench.clock.settle();

  assert.equal(bench.told, ['openbao_ca 1 refused']);
  assert.is(bench.session.generations().openbao_ca, 0);
  await bench.end();
});

test('the same refusal is said again after a minute, and not before', async () => {
  const bench = createBench();
  await bench.begin();
  bench.offer('jwt', 2, bench.jwt('jwt2'));
  await bench.clock.advance(600_000);
  const said = bench.told.filter((line) => line === 'jwt 2 refused signature').length;

  assert.ok(said >= 6 && said <= 10, `${said} times in ten minutes`);
  await bench.end();
});

test('a JWT that waits for its next try is tried at once over a new CA', async () => {
  const bench = createBench();
  await bench.begin();
  bench.offer('jwt', 2, bench.jwt('jwt2'));
  await bench.clock.advance(300_000);
  for (const before = bench.logins.length; bench.logins.length === before; ) await bench.clock.advance(1_000);
  bench.accepts.jwt.add('jwt2');
  bench.accepts.ca.add('ca2');
  bench.offer('openbao_ca', 2, 'ca2');
  await bench.clock.advance(7_000);

  assert.equal(bench.session.generations(), { openbao_ca: 2, jwt: 2 });
  await bench.end();
});

test('while the JWT in use ends soon its candidate is tried every few seconds', async () => {
  const bench = createBench();
  await bench.begin();
  bench.offer('jwt', 2, bench.jwt('jwt2', { exp: Math.floor(bench.clock.wallMs() / 1000) + 7_200 }));
  const triesIn = async (ms: number) => {
    const before = bench.logins.filter((login) => login === 'ca1 jwt2').length;
    await bench.clock.advance(ms);
    return bench.logins.filter((login) => login === 'ca1 jwt2').length - before;
  };
  await bench.clock.advance(3_000_000);
  const calm = await triesIn(100_000);
  await bench.clock.advance(160_000);
  const urgent = await triesIn(100_000);

  assert.ok(calm <= 4, `${calm} while it has life left`);
  assert.ok(urgent >= 14, `${urgent} before its end`);
  await bench.end();
});

test('a CA that is overtaken while its handshake runs comes into use with its own pools', async () => {
  const bench = createBench();
  await bench.begin();
  bench.accepts.ca.add('ca2');
  const gate = Promise.withResolvers<void>();
  bench.answers.hold = gate.promise;
  bench.offer('openbao_ca', 2, 'ca2');
  await bench.clock.settle();
  bench.offer('openbao_ca', 3, 'ca3');
  gate.resolve();
  await bench.clock.settle();

  assert.is(bench.session.generations().openbao_ca, 2);
  assert.is((bench.session.pools().login as Http & { readonly ca: string }).ca, 'ca2');
  assert.equal(bench.closed, ['ca1', 'ca1']);
  await bench.end();
});

test('a JWT that is overtaken while its login runs is still there for the next login', async () => {
  const bench = createBench();
  await bench.begin();
  bench.accepts.jwt.add('jwt2');
  const gate = Promise.withResolvers<void>();
  bench.answers.hold = gate.promise;
  bench.offer('jwt', 2, bench.jwt('jwt2'));
  await bench.clock.advance(4_000);
  bench.offer('jwt', 3, bench.jwt('jwt3'));
  gate.resolve();
  await bench.clock.settle();

  assert.is(bench.session.generations().jwt, 2);
  assert.is((await bench.session.login(forever, false)).token, 'token of jwt2');
  await bench.end();
});

test('a trial that ends well after a newer generation came into use does not take that back', async () => {
  const bench = createBench();
  await bench.begin();
  bench.accepts.jwt.add('jwt2');
  const gate = Promise.withResolvers<void>();
  bench.answers.hold = gate.promise;
  bench.offer('jwt', 2, bench.jwt('jwt2'));
  await bench.clock.advance(4_000);
  assert.is(bench.logins.at(-1), 'ca1 jwt2');
  bench.offer('jwt', 3, bench.jwt('jwt1', { exp: Math.floor(bench.clock.wallMs() / 1000) + 3_595 }));
  assert.is(bench.session.generations().jwt, 3, 'its bytes are those in use');
  gate.resolve();
  await bench.clock.settle();

  assert.is(bench.session.generations().jwt, 3);
  await bench.end();
});

test('a handshake that the stop ends says nothing about its CA', async () => {
  const bench = createBench();
  await bench.begin();
  const gate = Promise.withResolvers<void>();
  bench.answers.hold = gate.promise;
  bench.offer('openbao_ca', 2, 'ca2');
  await bench.clock.settle();
  bench.stopped.abort();
  gate.reject(new ProviderError('canceled', 'stopping'));
  await bench.clock.settle();

  assert.is(bench.told.length, 2);
  await bench.end();
});

test('after the stop no timer is set any more', async () => {
  const bench = createBench();
  await bench.begin();
  await bench.end();
  const before = bench.clock.timers();
  bench.offer('jwt', 2, bench.jwt('jwt2'));
  await bench.clock.settle();

  assert.is(bench.clock.timers(), before);
});

test.run();
