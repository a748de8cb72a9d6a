// T15 OpenBao impersonated, or confused: whoever answers several Decrypts in one request cannot hand one caller the plaintext of another by
// answers out of order, with foreign references, too few or too many. Such a request is asked for again, one by one.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readReply } from '../../../plugin/openbao/response.ts';
import { createTransit } from '../../../plugin/transit/transit.ts';
import { active, createKmsBench, goodRequest } from '../../support/kms-bench.ts';

type Asked = { readonly ciphertext?: string; readonly batch_input?: readonly { readonly ciphertext: string }[] };
type Result = { readonly plaintext: string; readonly reference: string };

const plaintextOf = (ciphertext: string) => Buffer.from(`of ${ciphertext}`).toString('base64');
const rotated = (list: readonly Result[]) => [...list.slice(1), ...list.slice(0, 1)];

/** Twenty callers at a time, and an OpenBao that answers them as it likes when it is asked together. @returns what each got */
async function ask(confuse: (results: readonly Result[]) => unknown): Promise<{ got: string[]; together: number }> {
  let together = 0;
  const transit = createTransit('m', 'k', async ({ operation, body }) => {
    const { ciphertext = '', batch_input } = body as Asked;
    await new Promise((resolve) => setImmediate(resolve));
    if (batch_input !== undefined) together += 1;
    const results = batch_input?.map((item, index) => ({
      plaintext: plaintextOf(item.ciphertext),
      reference: String(index),
    }));
    const data = results === undefined ? { plaintext: plaintextOf(ciphertext) } : { batch_results: confuse(results) };
    const answer = Buffer.from(JSON.stringify({ data }));
    const head = { status: 200, contentType: 'application/json', retryAfter: '', date: '' };
    return readReply(operation, { ...head, body: answer });
  });
  const bench = createKmsBench({ transit });
  const calls = Array.from({ length: 20 }, (_, number) =>
    bench.plaintext({ ...goodRequest(), ciphertext: Buffer.from(`vault:v${active.transitVersion}:${number}`) }),
  );
  return { got: await Promise.all(calls), together };
}

for (const [what, confuse] of [
  ['as they were asked', (list: readonly Result[]) => list],
  ['in another order', (list: readonly Result[]) => [...list].reverse()],
  ['shifted by one', rotated],
  ['one fewer', (list: readonly Result[]) => list.slice(1)],
  ['one more', (list: readonly Result[]) => [...list, ...list.slice(0, 1)]],
  ['all with the reference of the first', (list: readonly Result[]) => list.map((one) => ({ ...one, reference: '0' }))],
  ['without references', (list: readonly Result[]) => rotated(list).map(({ plaintext }) => ({ plaintext }))],
] as const) {
  test(`answered ${what}: each caller gets his own plaintext`, async () => {
    const { got, together } = await ask(confuse);
    assert.ok(together > 0, 'several were asked together');
    assert.equal(
      got,
      got.map((_, number) => `of vault:v${active.transitVersion}:${number}`),
    );
  });
}

test.run();
