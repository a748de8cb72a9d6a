// Decrypts that leave together, through the whole provider and an OpenBao: a real one when it is found, else the development server.

import { randomBytes } from 'node:crypto';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Administration, withAdministration } from '../support/key-administration.ts';
import { refusalOf } from '../support/kms-client.ts';
import type { Fault } from '../support/openbao/front.ts';
import { findBao } from '../support/openbao/process.ts';
import { defaultInstallation, providerPolicy } from '../support/openbao/provision.ts';
import { type Provider, untilHealthy } from '../support/provider.ts';
import { skipWithout } from '../support/skip.ts';

type Sealed = Awaited<ReturnType<Provider['client']['encrypt']>>;
type One = { readonly plaintext: Buffer; readonly sealed: Sealed };

async function seal(provider: Provider, count: number): Promise<One[]> {
  return Promise.all(
    Array.from({ length: count }, async () => {
      const plaintext = randomBytes(32);
      return { plaintext, sealed: await provider.client.encrypt(plaintext, 'u', 10_000) };
    }),
  );
}

/** All at once; each must get its own. */
async function decryptAll(provider: Provider, several: readonly One[]): Promise<void> {
  const answers = await Promise.all(several.map(({ sealed }) => provider.client.decrypt(sealed, 'u', 10_000)));
  for (const [index, { plaintext }] of several.entries()) {
    assert.ok(Buffer.from(answers[index]?.plaintext ?? []).equals(plaintext), `the plaintext of ${index}`);
  }
}

async function sample(provider: Provider, name: string): Promise<number> {
  const text = await provider.metrics();
  const line = text
    .split('\n')
    .find((one) => one.startsWith(`openbao_kms_${name} `) || one.startsWith(`openbao_kms_${name}{`));
  return Number(line?.split(' ').at(-1) ?? 0);
}

/** How many went in how many requests since. */
const sent = async (provider: Provider) => ({
  requests: await sample(provider, 'openbao_decrypt_batch_items_count'),
  items: await sample(provider, 'openbao_decrypt_batch_items_sum'),
});

const isBatch = (body: Record<string, unknown>) => Array.isArray(body['batch_input']);

/** More encrypts than are allowed at a time by default. */
const inFlight = 32;

async function started({ start }: Administration): Promise<Provider> {
  const provider = start();
  await untilHealthy(provider);
  return provider;
}

test('many Decrypts at a time need few requests, and each caller gets its own plaintext', () =>
  withAdministration(async (world) => {
    const provider = await started(world);
    const several = await seal(provider, inFlight);
    const before = await sent(provider);
    for (let round = 0; round < 5; round += 1) await decryptAll(provider, several);
    const { requests, items } = await sent(provider);
    assert.is(items - before.items, 5 * inFlight);
    assert.ok(requests - before.requests < 5 * inFlight, `${requests - before.requests} requests`);
    assert.is(await sample(provider, 'decrypt_batch_off_total'), 0);
  }));

test('one whose ciphertext is damaged fails alone', () =>
  withAdministration(async (world) => {
    const provider = await started(world);
    const several = await seal(provider, inFlight);
    const [first] = several;
    if (first === undefined) throw new Error('nothing was sealed');
    const { sealed } = first;
    const text = Buffer.from(sealed.ciphertext).toString();
    const at = text.length - 6;
    const damaged = `${text.slice(0, at)}${text[at] === 'A' ? 'B' : 'A'}${text.slice(at + 1)}`;
    const bad = refusalOf(provider.client.decrypt({ ...sealed, ciphertext: Buffer.from(damaged) }, 'u', 10_000));
    await decryptAll(provider, several);
    assert.is((await bad).message, 'transit decrypt failed');
  }));

test('with transit.batchDecrypt: off each Decrypt is a request of its own', () =>
  withAdministration(async (world) => {
    world.workplace.writeConfig((config) => {
      Object.assign(config['transit'] ?? {}, { batchDecrypt: 'off' });
    });
    const provider = await started(world);
    const several = await seal(provider, inFlight);
    const seen: boolean[] = [];
    world.front.fault = ({ path, body }) => {
      if (path.includes('/decrypt/')) seen.push(isBatch(body));
      return undefined;
    };
    await decryptAll(provider, several);
    assert.equal([seen.length >= inFlight, seen.includes(true)], [true, false]);
  }));

const refuse = (status: number, text: string): Fault => {
  return ({ path, body }) =>
    path.includes('/decrypt/') && isBatch(body) ? { status, body: { errors: [text] } } : undefined;
};
for (const [what, fault] of [
  ['a shape fault', refuse(500, '1 error occurred:\n\t* failed to parse batch input: x\n\n')],
  ['a policy on parameters', refuse(403, '1 error occurred:\n\t* permission denied\n\n')],
  ['too many bytes', refuse(413, 'http: request body too large')],
  ['a quota', refuse(429, 'request path "transit/decrypt/k": rate limit quota exceeded')],
  ['a server that does not know them', refuse(400, 'missing ciphertext to decrypt')],
] as const) {
  test(`a batch that is refused as a whole (${what}): no Decrypt fails, and after two they go alone and the log says so`, () =>
    withAdministration(async (world) => {
      const provider = await started(world);
      const several = await seal(provider, inFlight);
      world.front.fault = fault;
      for (let round = 0; round < 3; round += 1) await decryptAll(provider, several);
      const told = provider.log.filter(({ message }) => message === 'decrypt.batch_off');
      assert.is(told.length, 1);
      assert.is(await sample(provider, 'decrypt_batch_off_total'), 1);
      assert.is((await provider.client.status()).healthz, 'ok');
      let batches = 0;
      world.front.fault = ({ body }) => {
        if (isBatch(body)) batches += 1;
        return undefined;
      };
      await decryptAll(provider, several);
      assert.is(batches, 0);
    }));
}

test('a token whose policy refuses the parameter batch_input', async () => {
  if (skipWithout(findBao() !== undefined, 'a policy on parameters', 'BAO_BIN or bao on the path')) return;
  await withAdministration(async (world) => {
    const { admin } = world;
    const { mountPath, keyName, policyName } = defaultInstallation;
    const provider = await started(world);
    const several = await seal(provider, inFlight);
    const rule = `path "${mountPath}/decrypt/${keyName}" {`;
    const policy = providerPolicy(defaultInstallation);
    assert.ok(policy.includes(rule));
    const denied = policy.replace(rule, `${rule}\n  denied_parameters = { "batch_input" = [] }`);
    await admin.call('POST', `sys/policies/acl/${policyName}`, { policy: denied });
    for (let round = 0; round < 3; round += 1) await decryptAll(provider, several);
    assert.is(await sample(provider, 'decrypt_batch_off_total'), 1);
  });
});

test.run();
