// The three methods: order of validation, limits at n-1, n and n+1, slots, deadlines, one observation per call.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { StatusCache } from '../../../../plugin/health/status-cache.ts';
import { createKeyService } from '../../../../plugin/key-service.ts';
import { buildAnnotations } from '../../../../plugin/keys/annotations.ts';
import type { DecodedDecrypt } from '../../../../plugin/kms/codec.ts';
import {
  createKms,
  type KeyService,
  type KmsCall,
  type KmsObservation,
  ownMarginMs,
} from '../../../../plugin/kms/kms.ts';
import { ProviderError } from '../../../../shared/errors/error.ts';
import { sealState } from '../../../../shared/registry/state.ts';
import { readClock } from '../../../../shared/time/age.ts';
import { createFakeClock, type FakeClock } from '../../../support/fake-clock.ts';
import { content, snapshot } from '../../../support/vectors.ts';

const active = snapshot(12);
const retired = snapshot(11, { state: 'retired' });
const pending = snapshot(13, { state: 'pending', promotedAtUnix: 0 });
const removed = snapshot(9, { state: 'removed' });

type Bench = {
  readonly clock: FakeClock;
  readonly kms: ReturnType<typeof createKms>;
  readonly observations: KmsObservation[];
  readonly transitCalls: string[];
  readonly discoveries: string[];
  readonly counted: string[];
  readonly cache: StatusCache;
};

type Options = {
  readonly isHealthy?: boolean;
  readonly encrypt?: () => Promise<string>;
  readonly decrypt?: (signal: AbortSignal) => Promise<Buffer>;
  readonly keys?: Partial<KeyService>;
  readonly discovered?: () => Promise<undefined>;
  readonly slots?: number;
};

function createBench(options: Options = {}): Bench {
  const clock = createFakeClock();
  const cache = new StatusCache(clock, { statusMaxStalenessMs: 120_000, deepMaxAgeMs: 900_000 });
  const state = sealState(content({ snapshots: [active, pending, retired, removed] }));
  cache.load(state);
  if (options.isHealthy !== false) {
    cache.publish(state, readClock(clock));
    cache.deepPassed(active.kubernetesKeyId, readClock(clock));
  }
  const transitCalls: string[] = [];
  const discoveries: string[] = [];
  const counted: string[] = [];
  const observations: KmsObservation[] = [];
  const real = createKeyService({
    cache,
    transit: {
      encrypt: async () => {
        transitCalls.push('encrypt');
        return options.encrypt?.() ?? 'vault:v12:c2VhbGVk';
      },
      decrypt: async (_, signal) => {
        transitCalls.push('decrypt');
        return options.decrypt?.(signal ?? new AbortController().signal) ?? Buffer.from('plaintext');
      },
      decryptTogether: async () => undefined,
    },
    discovery: {
      find: async (keyId) => {
        discoveries.push(keyId);
        return options.discovered?.();
      },
    },
    evidence: { call: () => {} },
    pluginVersion: '1.4.0',
  });
  const kms = createKms({
    clock,
    keys: { ...real, ...options.keys },
    settings: {
      maxConcurrentStatus: 2,
      maxConcurrentEncrypt: 2,
      maxConcurrentDecrypt: options.slots ?? 4,
      isBatching: false,
      timeoutMs: 2_000,
    },
    record: (observation) => observations.push(observation),
    countKeyIdError: (reason) => counted.push(reason),
    countAadError: (reason) => counted.push(reason),
  });
  return { clock, kms, observations, transitCalls, discoveries, counted, cache };
}

const nobody = {};

function call(deadlineMs = Number.POSITIVE_INFINITY): KmsCall {
  return { signal: new AbortController().signal, deadlineMs, connection: nobody, end: () => {} };
}

function request(change: Partial<DecodedDecrypt> = {}, record = active): DecodedDecrypt {
  const annotations = new Map(
    [...buildAnnotations(record, '1.4.0')].map(([name, value]) => [name, Buffer.from(value)]),
  );
  const ciphertext = Buffer.from(`vault:v${record.transitVersion}:c2VhbGVk`);
  return {
    ciphertext,
    uid: 'u',
    keyId: record.kubernetesKeyId,
    annotations,
    hasDuplicates: false,
    sizeBytes: 700,
    ...change,
  };
}

/** The message and class of a refusal, or 'ok'. */
async function answerOf(promise: Promise<unknown>): Promise<string> {
  const answer = (await promise) as { failure?: { message: string; errorClass: string } };
  return answer.failure === undefined ? 'ok' : `${answer.failure.message} (${answer.failure.errorClass})`;
}

test('a healthy Status names the active key and asks nobody', async () => {
  const bench = createBench();
  const answer = await bench.kms.status(call());

  assert.equal(answer, { message: { version: 'v2', healthz: 'ok', keyId: active.kubernetesKeyId } });
  assert.equal(bench.transitCalls, []);
});

for (const [whose, callMs, limitMs] of [
  ['its own', Number.POSITIVE_INFINITY, 2_000 + ownMarginMs],
  ['the caller’s', 1_500, 1_500],
] as const) {
  test(`a Decrypt that gets no answer ends at ${whose} deadline, and not before`, async () => {
    const bench = createBench({ decrypt: () => new Promise(() => {}) });
    let answer: string | undefined;
    void answerOf(bench.kms.decrypt(request(), call(callMs))).then((found) => {
      answer = found;
    });
    await bench.clock.advance(limitMs - 1);
    assert.is(answer, undefined);
    await bench.clock.advance(1);
    assert.is(answer, 'request timed out (timeout)');
  });
}

test('an unhealthy Status is a successful answer with an empty key_id', async () => {
  const bench = createBench({ isHealthy: false });
  const answer = await bench.kms.status(call());

  assert.equal(answer, { message: { version: 'v2', healthz: 'unhealthy', keyId: '' } });
  assert.is(bench.observations[0]?.status, 'ok');
});

test('a Status that cannot be read is unhealthy, not an error', async () => {
  const bench = createBench({
    keys: {
      status: () => {
        throw new Error('x');
      },
    },
  });

  assert.equal(await bench.kms.status(call()), { message: { version: 'v2', healthz: 'unhealthy', keyId: '' } });
});

test('Encrypt answers the key_id of Status and its own annotations', async () => {
  const bench = createBench();
  const answer = await bench.kms.encrypt({ plaintext: Buffer.alloc(32), uid: 'u' }, call());

  assert.ok('message' in answer);
  assert.is(answer.message.keyId, active.kubernetesKeyId);
  assert.is(answer.message.annotations.size, 8);
});

test('Encrypt refuses in the order of the contract, without calling Transit', async () => {
  const empty = createBench({ isHealthy: false });
  assert.is(
    await answerOf(empty.kms.encrypt({ plaintext: Buffer.alloc(0), uid: '' }, call())),
    'plaintext is required (unknown)',
  );
  assert.is(
    await answerOf(empty.kms.encrypt({ plaintext: Buffer.alloc(32), uid: '' }, call())),
    'status unhealthy (status_stale)',
  );
  const unreadable = createBench({
    keys: {
      status: () => {
        throw new Error('x');
      },
    },
  });
  const unavailable = await answerOf(unreadable.kms.encrypt({ plaintext: Buffer.alloc(32), uid: '' }, call()));
  assert.is(unavailable, 'status unavailable (status_stale)');
  assert.equal([...empty.transitCalls, ...unreadable.transitCalls], []);
});

for (const [size, expected, calls] of [
  [724, 'ok', 1],
  [725, 'ok', 1],
  [726, 'kms response exceeds protocol limits (protocol_limit)', 0],
] as const) {
  test(`a plaintext of ${size} bytes: ${expected}, ${calls} Transit calls`, async () => {
    const bench = createBench();

    assert.is(await answerOf(bench.kms.encrypt({ plaintext: Buffer.alloc(size, 1), uid: '' }, call())), expected);
    assert.is(bench.transitCalls.length, calls);
  });
}

for (const [size, expected] of [
  [1022, 'ok'],
  [1023, 'ok'],
  [1024, 'kms response exceeds protocol limits (protocol_limit)'],
] as const) {
  test(`a ciphertext of ${size} bytes from Transit: ${expected}`, async () => {
    const bench = createBench({ encrypt: async () => 'x'.repeat(size) });

    assert.is(await answerOf(bench.kms.encrypt({ plaintext: Buffer.alloc(32), uid: '' }, call())), expected);
  });
}

for (const record of [active, retired, pending]) {
  test(`a ${record.state} version decrypts`, async () => {
    assert.is(await answerOf(createBench().kms.decrypt(request({}, record), call())), 'ok');
  });
}

test('Decrypt is attempted while Status is unhealthy', async () => {
  assert.is(await answerOf(createBench({ isHealthy: false }).kms.decrypt(request(), call())), 'ok');
});

const annotationsOf = (change: (annotations: Map<string, Buffer>) => void) => {
  const annotations = new Map(request().annotations);
  change(annotations);
  return annotations;
};
const hash = Buffer.from('-7HYmUBdBfDtbSxDJ8xM-_L1xOCu-QNWQ4YDTWTVCQA');
/** The right ones, which are 7 and a namespace's, and so many others of this size. */
const extra = (count: number, sizeBytes: number) =>
  annotationsOf((map) => {
    for (let index = 0; index < count; index += 1) map.set(`x${index}.example.org`, Buffer.alloc(sizeBytes, 0x61));
  });
const filler = (sizeBytes: number) =>
  annotationsOf((map) => {
    const used = [...map].reduce((sum, [name, value]) => sum + name.length + value.length, 0);
    map.set('filler.example.org', Buffer.alloc(sizeBytes - used - 'filler.example.org'.length, 0x61));
  });

const refusals: readonly (readonly [string, Partial<DecodedDecrypt>, string])[] = [
  [
    'empty ciphertext, before everything',
    { ciphertext: Buffer.alloc(0), keyId: 'x'.repeat(2000) },
    'ciphertext is required (unknown)',
  ],
  [
    'ciphertext of 1024 bytes',
    { ciphertext: Buffer.alloc(1024, 0x41) },
    'kms request exceeds protocol limits (protocol_limit)',
  ],
  ['key_id of 1024 bytes', { keyId: 'x'.repeat(1024) }, 'kms request exceeds protocol limits (protocol_limit)'],
  [
    'annotations that are not UTF-8 and too large',
    { annotations: filler(40_000).set('b.example.org', Buffer.from([0xff])) },
    'annotations invalid (annotation_invalid)',
  ],
  [
    'annotations of 32768 bytes',
    { annotations: filler(32_768) },
    'kms request exceeds protocol limits (protocol_limit)',
  ],
  ['malformed key_id', { keyId: 'obk2.short' }, 'key_id malformed (key_id_malformed)'],
  ['empty key_id', { keyId: '' }, 'key_id malformed (key_id_malformed)'],
  ['no annotations', { annotations: new Map() }, 'annotations invalid (annotation_invalid)'],
  [
    'a namespace annotation missing',
    { annotations: annotationsOf((map) => map.delete('openbao-namespace-hash.kms.openbao.org')) },
    'annotations do not match key snapshot (aad_mismatch)',
  ],
  [
    'another key-id hash',
    { annotations: annotationsOf((map) => map.set('key-id-hash.kms.openbao.org', hash)) },
    'annotations do not match key snapshot (aad_mismatch)',
  ],
  [
    'another version',
    { annotations: annotationsOf((map) => map.set('transit-key-version.kms.openbao.org', Buffer.from('11'))) },
    'annotations do not match key snapshot (aad_mismatch)',
  ],
  [
    'a version with a sign',
    { annotations: annotationsOf((map) => map.set('transit-key-version.kms.openbao.org', Buffer.from('+12'))) },
    'annotations invalid (annotation_invalid)',
  ],
  [
    'a version with leading zeros',
    { annotations: annotationsOf((map) => map.set('transit-key-version.kms.openbao.org', Buffer.from('012'))) },
    'annotations invalid (annotation_invalid)',
  ],
  [
    'a version beyond 2^31-1',
    { annotations: annotationsOf((map) => map.set('transit-key-version.kms.openbao.org', Buffer.from('2147483648'))) },
    'annotations invalid (annotation_invalid)',
  ],
  [
    'a hash with non-zero unused bits',
    {
      annotations: annotationsOf((map) =>
        map.set('transit-key-hash.kms.openbao.org', Buffer.from('fGl-WVEngGJ6TuQcUmHWqGcCyr1TFteyPdpHTW4czrF')),
      ),
    },
    'annotations invalid (annotation_invalid)',
  ],
  [
    'an annotation name in upper case',
    { annotations: annotationsOf((map) => map.set('X.example.org', Buffer.from('1'))) },
    'annotations invalid (annotation_invalid)',
  ],
  [
    'an annotation name of one label',
    { annotations: annotationsOf((map) => map.set('version', Buffer.from('1'))) },
    'annotations invalid (annotation_invalid)',
  ],
  [
    'an annotation name with a slash',
    { annotations: annotationsOf((map) => map.set('a/b.example.org', Buffer.from('1'))) },
    'annotations invalid (annotation_invalid)',
  ],
  ['17 annotations', { annotations: extra(10, 1) }, 'annotations invalid (annotation_invalid)'],
  ['an annotation of 1025 bytes', { annotations: extra(1, 1_025) }, 'annotations invalid (annotation_invalid)'],
  ['annotations of 32767 bytes', { annotations: filler(32_767) }, 'annotations invalid (annotation_invalid)'],
  [
    '17 annotations and a malformed key_id',
    { annotations: extra(10, 1), keyId: 'x' },
    'key_id malformed (key_id_malformed)',
  ],
  ['an annotation twice', { hasDuplicates: true }, 'annotations invalid (annotation_invalid)'],
  [
    'a ciphertext of another version',
    { ciphertext: Buffer.from('vault:v11:c2VhbGVk') },
    'transit decrypt failed (aad_mismatch)',
  ],
  [
    'a ciphertext with a control character',
    { ciphertext: Buffer.from('vault:v12:c2\n') },
    'transit decrypt failed (unknown)',
  ],
  ['a ciphertext that is not ASCII', { ciphertext: Buffer.from([0x76, 0xff]) }, 'transit decrypt failed (unknown)'],
];

for (const [what, change, expected] of refusals) {
  test(`Decrypt with ${what}: ${expected}, no Transit call`, async () => {
    const bench = createBench();

    assert.is(await answerOf(bench.kms.decrypt(request(change), call())), expected);
    assert.equal(bench.transitCalls, []);
    assert.is(bench.observations.length, 1);
  });
}

for (const name of request().annotations.keys()) {
  test(`Decrypt without ${name} is refused before Transit`, async () => {
    const bench = createBench();
    const answer = await answerOf(
      bench.kms.decrypt(request({ annotations: annotationsOf((map) => map.delete(name)) }), call()),
    );

    assert.is.not(answer, 'ok');
    assert.equal(bench.transitCalls, []);
  });
}

for (const [what, change] of [
  ['a ciphertext of 1023 bytes', { ciphertext: Buffer.from(`vault:v12:${'A'.repeat(1013)}`) }],
  ['8 annotations more of 1024 bytes', { annotations: extra(8, 1_024) }],
  ['an unknown annotation', { annotations: annotationsOf((map) => map.set('extra.example.org', Buffer.from('x'))) }],
  ['a ciphertext without the prefix', { ciphertext: Buffer.from('opaque') }],
] as const) {
  test(`Decrypt with ${what} goes to Transit`, async () => {
    assert.is(await answerOf(createBench().kms.decrypt(request(change), call())), 'ok');
  });
}

test('an unknown key_id asks discovery once and is NOT_FOUND after it', async () => {
  const bench = createBench();
  const stranger = snapshot(14);

  assert.is(await answerOf(bench.kms.decrypt(request({}, stranger), call())), 'key_id unknown (key_id_unknown)');
  assert.equal(bench.discoveries, [stranger.kubernetesKeyId]);
  assert.equal(bench.counted, ['key_id_unknown']);
});

test('junk annotations with an unknown key_id cause no discovery', async () => {
  const bench = createBench();
  const junk = request({ annotations: new Map([['a.b', Buffer.from('x')]]) }, snapshot(14));

  assert.is(await answerOf(bench.kms.decrypt(junk, call())), 'key_id unknown (key_id_unknown)');
  assert.equal(bench.discoveries, []);
});

test('a known or malformed key_id never asks discovery', async () => {
  const bench = createBench();
  await bench.kms.decrypt(request(), call());
  await bench.kms.decrypt(request({ keyId: 'nonsense' }), call());

  assert.equal(bench.discoveries, []);
});

test('failures before the key_id step touch neither counter, later ones theirs', async () => {
  const bench = createBench();
  await bench.kms.decrypt(request({ ciphertext: Buffer.alloc(0) }), call());
  await bench.kms.decrypt(request({ annotations: new Map([['a.b', Buffer.from([0xff])]]) }), call());
  await bench.kms.decrypt(request({ keyId: 'x' }), call());
  await bench.kms.decrypt(request({ annotations: new Map() }), call());

  assert.equal(bench.counted, ['key_id_malformed', 'annotation_invalid']);
});

test('the call above the limit of Encrypt is refused before its content is looked at', async () => {
  const hold = Promise.withResolvers<string>();
  const bench = createBench({ encrypt: () => hold.promise });
  const running = [1, 2].map(() => bench.kms.encrypt({ plaintext: Buffer.alloc(32), uid: '' }, call()));

  const third = await answerOf(bench.kms.encrypt({ plaintext: Buffer.alloc(0), uid: '' }, call()));
  assert.is(third, 'kms request concurrency limit reached (concurrency_limit)');
  hold.resolve('vault:v12:eA==');
  await Promise.all(running);
  assert.is(bench.kms.inFlight().encrypt, 0);
});

test('an exception in a handler gives the slot back and is one observation with its type only', async () => {
  const bench = createBench({ keys: { encrypt: () => Promise.reject(new RangeError('secret text')) } });

  assert.is(
    await answerOf(bench.kms.encrypt({ plaintext: Buffer.alloc(32), uid: '' }, call())),
    'kms request failed (panic)',
  );
  assert.is(bench.kms.inFlight().encrypt, 0);
  assert.is(bench.observations.length, 1);
  assert.is(bench.observations[0]?.panicType, 'RangeError');
  assert.not.match(JSON.stringify(bench.observations), /secret/u);
});

test('our own deadline ends a call that Transit does not answer', async () => {
  const bench = createBench({ encrypt: () => new Promise(() => {}) });
  const abortable = createBench({
    keys: {
      encrypt: (_view, _plaintext, signal) =>
        new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
    },
  });
  const answer = answerOf(abortable.kms.encrypt({ plaintext: Buffer.alloc(32), uid: '' }, call()));
  await abortable.clock.advance(2_250);

  assert.is(await answer, 'request timed out (timeout)');
  assert.is(abortable.clock.timers(), 0);
  assert.is(bench.kms.inFlight().encrypt, 0);
});

test('the caller’s earlier deadline counts, and its cancellation reaches Transit', async () => {
  let reason: unknown;
  const bench = createBench({
    decrypt: (signal) =>
      new Promise((_, reject) => {
        signal.addEventListener('abort', () => {
          reason = signal.reason;
          reject(signal.reason);
        });
      }),
  });
  const early = answerOf(bench.kms.decrypt(request(), call(500)));
  await bench.clock.advance(500);
  assert.is(await early, 'request timed out (timeout)');
  const controller = new AbortController();
  const canceled = answerOf(bench.kms.decrypt(request(), { ...call(), signal: controller.signal }));
  await bench.clock.settle();
  controller.abort(new ProviderError('canceled', 'gone'));
  assert.is(await canceled, 'request canceled (canceled)');
  await bench.clock.settle();
  assert.instance(reason, ProviderError);
});

test('a promotion in the middle of an Encrypt does not change its key', async () => {
  const hold = Promise.withResolvers<string>();
  const bench = createBench({ encrypt: () => hold.promise });
  const running = bench.kms.encrypt({ plaintext: Buffer.alloc(32), uid: '' }, call());
  await bench.clock.settle();
  const promoted = { ...pending, state: 'active' as const, promotedAtUnix: 1_750_000_300 };
  const next = sealState(content({ snapshots: [promoted, { ...active, state: 'retired' }, retired, removed] }));
  bench.cache.publish(next, readClock(bench.clock), true);
  hold.resolve('vault:v12:eA==');
  const answer = await running;

  assert.ok('message' in answer && answer.message.keyId === active.kubernetesKeyId);
});

test('Decrypts of the same ciphertext with other annotations share no call', async () => {
  const opened = Promise.withResolvers<Buffer>();
  const bench = createBench({ decrypt: () => opened.promise });
  const written = (pluginVersion: string) =>
    request({
      annotations: new Map(
        [...buildAnnotations(active, pluginVersion)].map(([name, value]) => [name, Buffer.from(value)]),
      ),
    });
  const calls = ['1.4.0', '1.4.0', '1.3.0'].map((version) => bench.kms.decrypt(written(version), call()));
  await bench.clock.settle();
  assert.equal(bench.transitCalls, ['decrypt', 'decrypt']);
  opened.resolve(Buffer.from('plaintext'));
  await Promise.all(calls);
});

test.run();
