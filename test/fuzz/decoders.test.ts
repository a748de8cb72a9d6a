// Every decoder, fed with mutations of good input: it throws a classed error of ours, or what it read is written the same
// again. Bounded in time; the seed is printed and may be given back in FUZZ_SEED.

import { randomInt } from 'node:crypto';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { checkJwt } from '../../plugin/auth/methods/jwt-claims.ts';
import { buildAnnotations, parseAnnotations } from '../../plugin/keys/annotations.ts';
import { DecryptRequest, decodeDecryptRequest } from '../../plugin/kms/codec.ts';
import { isPrintableAscii, versionOfCiphertext } from '../../plugin/transit/ciphertext.ts';
import { encodeFrame, FrameDecoder } from '../../shared/channel/frame.ts';
import { encodeMessage, parsePluginMessage, parseSupervisorMessage } from '../../shared/channel/messages.ts';
import { readConfig } from '../../shared/config/config.ts';
import { ProviderError } from '../../shared/errors/error.ts';
import { checkpointOf, encodeCheckpoint, parseCheckpoint } from '../../shared/registry/checkpoint.ts';
import { parseKeyId } from '../../shared/registry/key-id.ts';
import { encodeState, parseState } from '../../shared/registry/state.ts';
import { parseStrictJson } from '../../shared/text/strict-json.ts';
import { parseDurationMs } from '../../shared/time/duration.ts';
import { parseYaml } from '../../supervisor/gate/yaml.ts';
import { decodeGoBase64 } from '../support/openbao/go-base64.ts';
import { firstState, nextState, snapshot } from '../support/vectors.ts';

const budgetMs = 800;
const seed = Number(process.env['FUZZ_SEED'] ?? randomInt(2 ** 31));
process.stdout.write(`fuzz seed ${seed}\n`);

/** mulberry32: small, seeded, good enough to choose bytes. */
function createDice(start: number): (below: number) => number {
  let state = start;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

const tokens = [
  '{',
  '}',
  '[',
  ']',
  '"',
  ':',
  ',',
  '\\',
  '\0',
  '\n',
  'null',
  '1e9',
  '-',
  '.',
  '\u00ff',
  '\u2028',
  '=',
  'true',
  '0',
  '9'.repeat(20),
  '__proto__',
];

function mutate(input: Buffer, random: (below: number) => number): Buffer {
  let bytes = Buffer.from(input);
  for (let count = 1 + random(4); count > 0; count -= 1) {
    const at = random(bytes.length + 1);
    const kind = random(5);
    if (kind === 0 && at < bytes.length) bytes[at] = random(256);
    if (kind === 1) bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + random(8))]);
    if (kind === 2)
      bytes = Buffer.concat([
        bytes.subarray(0, at),
        Buffer.from(tokens[random(tokens.length)] ?? ''),
        bytes.subarray(at),
      ]);
    if (kind === 3)
      bytes = Buffer.concat([
        bytes.subarray(0, at),
        bytes.subarray(random(bytes.length + 1), random(bytes.length + 1)),
        bytes.subarray(at),
      ]);
    if (kind === 4) bytes = bytes.subarray(0, at);
  }
  return bytes.subarray(0, 100_000);
}

function fuzz(name: string, samples: readonly Buffer[], property: (bytes: Buffer) => void): void {
  test(`${name}: a classed error, or the same value again`, () => {
    const random = createDice(seed);
    const endsAtMs = performance.now() + budgetMs;
    let rounds = 0;
    for (const sample of samples) property(sample);
    while (performance.now() < endsAtMs) {
      const bytes = mutate(samples[random(samples.length)] ?? Buffer.alloc(0), random);
      rounds += 1;
      try {
        property(bytes);
      } catch (error) {
        if (!(error instanceof ProviderError) || error.class === 'internal') {
          throw new Error(`seed ${seed}, input ${bytes.toString('base64')}`, { cause: error });
        }
      }
    }
    assert.ok(rounds > 100, `${rounds} rounds`);
  });
}

const text = (bytes: Buffer) => bytes.toString('utf8');
const one = firstState();
const two = nextState(one, [snapshot(1), snapshot(2, { state: 'pending', promotedAtUnix: 0 })]);

fuzz(
  'frame',
  [
    encodeFrame(Buffer.from('{"kind":"x"}')),
    Buffer.concat([encodeFrame(Buffer.from('a')), encodeFrame(Buffer.from('bc'))]),
  ],
  (bytes) => {
    const decoder = new FrameDecoder();
    const payloads = decoder.push(bytes);
    const again = Buffer.concat(payloads.map(encodeFrame));
    assert.ok(again.equals(bytes.subarray(0, again.length)));
    assert.is(again.length + decoder.pendingBytes, bytes.length);
  },
);

fuzz(
  'plugin message',
  [encodeMessage({ kind: 'pong', id: 1, lagMs: 0.5 }), encodeMessage({ kind: 'propose', commitId: 1, state: '{}' })],
  (bytes) => {
    const message = parsePluginMessage(bytes);
    assert.equal(parsePluginMessage(encodeMessage(message)), message);
  },
);

fuzz(
  'supervisor message',
  [encodeMessage({ kind: 'ping', id: 1 }), encodeMessage({ kind: 'drain', reason: 'stop', deadlineMs: 1 })],
  (bytes) => {
    const message = parseSupervisorMessage(bytes);
    assert.equal(parseSupervisorMessage(encodeMessage(message)), message);
  },
);

fuzz('key id', [Buffer.from(snapshot(1).kubernetesKeyId)], (bytes) => {
  const keyId = parseKeyId(text(bytes));
  assert.is(Buffer.from(keyId.slice(5), 'base64url').toString('base64url'), keyId.slice(5));
});

const annotationJson = (map: ReadonlyMap<string, string>) => Buffer.from(JSON.stringify([...map]));
fuzz('annotations', [annotationJson(buildAnnotations(snapshot(1), '1.0'))], (bytes) => {
  let entries: [string, string][];
  try {
    const value: unknown = JSON.parse(text(bytes));
    if (!Array.isArray(value)) return;
    entries = value.filter(
      (entry): entry is [string, string] =>
        Array.isArray(entry) && typeof entry[0] === 'string' && typeof entry[1] === 'string',
    );
  } catch {
    return;
  }
  const parsed = parseAnnotations(new Map(entries));
  assert.ok(parsed.transitKeyVersion >= 1 && parsed.keyIdHash.length === 43);
});

fuzz('ciphertext', [Buffer.from('vault:v12:c2VhbGVk')], (bytes) => {
  if (!isPrintableAscii(bytes.toString('latin1'))) return;
  const version = versionOfCiphertext(bytes.toString('latin1'));
  assert.ok(version === undefined || Number.isSafeInteger(version));
});

fuzz('state', [Buffer.from(encodeState(one)), Buffer.from(encodeState(two))], (bytes) => {
  const state = parseState(text(bytes));
  assert.equal(parseState(encodeState(state)), state);
});

fuzz('checkpoint', [Buffer.from(encodeCheckpoint(checkpointOf(one)))], (bytes) => {
  const checkpoint = parseCheckpoint(text(bytes));
  assert.equal(parseCheckpoint(encodeCheckpoint(checkpoint)), checkpoint);
});

fuzz('strict JSON', [Buffer.from('{"a":[1,{"b":"\\u0041"},true],"c":""}')], (bytes) => {
  const value = parseStrictJson(text(bytes));
  assert.equal(value, JSON.parse(text(bytes)));
});

fuzz('duration', [Buffer.from('1h30m'), Buffer.from('1.5s'), Buffer.from('-250µs')], (bytes) => {
  assert.ok(Number.isFinite(parseDurationMs(text(bytes))));
});

const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
const jwt = Buffer.from(
  `${part({ alg: 'ES256' })}.${part({ exp: 2_000_000_000, iss: 'i', aud: ['a'], sub: 's' })}.c2ln`,
);
fuzz('JWT', [jwt], (bytes) => {
  const rules = {
    minRemainingTtlMs: 1,
    clockSkewLeewayMs: 1,
    expectedIssuer: '',
    expectedAudience: [],
    expectedSubject: '',
  };
  const checked = checkJwt(bytes, rules, 1_000);
  assert.is(checked.text, checked.text.trim());
});

fuzz(
  'YAML and configuration',
  [
    Buffer.from(
      'configVersion: v1alpha1\nserver:\n  socketMode: "0660"\n  socketGroup: kms\nopenbao: {address: "https://a", timeout: 2s}\n',
    ),
  ],
  (bytes) => {
    const { config, problems } = readConfig(parseYaml(bytes));
    assert.ok((config === undefined) === problems.length > 0);
  },
);

const request = {
  ciphertext: Buffer.from('vault:v1:eA=='),
  uid: 'u',
  keyId: 'k',
  annotations: new Map([['a.b', Buffer.from('c')]]),
};
fuzz('KMS request', [Buffer.from(DecryptRequest.encode(request).finish())], (bytes) => {
  const { hasDuplicates: _, sizeBytes: __, ...message } = decodeDecryptRequest(bytes);
  const again = Buffer.from(DecryptRequest.encode(message).finish());
  assert.equal(DecryptRequest.decode(again), message);
});

fuzz('Go base64 of the development server', [Buffer.from('YWJjZA=='), Buffer.from('YQ')], (bytes) => {
  const value = bytes.toString('latin1');
  const decoded = decodeGoBase64(value);
  if (typeof decoded === 'number') assert.ok(decoded >= 0 && decoded <= value.length);
  else assert.ok(decoded.equals(Buffer.from(value, 'base64')));
});

test.run();
