// T21 exhaustion by Decrypts that wait: a member of the socket's group asks for more than a slow OpenBao can answer, with all the
// annotations that fit in a request. What waits stays small, and a Decrypt of somebody else is served in its turn.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { maxRetainedBytes } from '../../../plugin/kms/bounds.ts';
import { DecryptRequest } from '../../../plugin/kms/generated/kms/v2/api.ts';
import { connectStranger, withKmsSocket } from '../../support/kms-socket.ts';
import { until } from '../../support/patience.ts';

/** A Decrypt that is equal to no other one. */
function requestOf(number: number, annotations: number, valueBytes: number): Buffer {
  const message = {
    ciphertext: Buffer.from(`vault:v1:${number}`),
    uid: 'u',
    keyId: 'key',
    annotations: new Map(
      Array.from({ length: annotations }, (_, index) => [`a${index}.example.org`, Buffer.alloc(valueBytes, 0x61)]),
    ),
  };
  return Buffer.from(DecryptRequest.encode(message).finish());
}

/** An OpenBao that answers when it is told to, the oldest question first. */
function createHeldKeys() {
  const held: (() => void)[] = [];
  let answered = 0;
  let isOpen = false;
  const answer = () => {
    answered += 1;
    held.shift()?.();
  };
  const decrypt = async () => {
    if (!isOpen) await new Promise<void>((done) => held.push(done));
    return Buffer.from('plaintext');
  };
  return {
    keys: { decrypt },
    answer,
    answered: () => answered,
    answerAll: () => {
      isOpen = true;
      while (held.length > 0) answer();
    },
  };
}

/** How many calls ended with each status. */
async function statusesOf(calls: readonly Promise<number>[]): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const status of await Promise.all(calls)) counts[status] = (counts[status] ?? 0) + 1;
  return counts;
}

test('1 080 Decrypts with 31 KB of annotations: more than 16, or one over 1 KiB, is refused and waits for nothing', () => {
  const seen: number[] = [];
  const resolve = ({
    annotations,
    areAnnotationsSound,
  }: {
    annotations: ReadonlyMap<string, string>;
    areAnnotationsSound: boolean;
  }) => {
    if (!areAnnotationsSound) seen.push(annotations.size);
    return new Promise<never>(() => {});
  };
  return withKmsSocket(
    async ({ path }) => {
      const stranger = connectStranger(path);
      void stranger.call('Decrypt', requestOf(0, 1, 31_000));
      for (let number = 1; number < 100; number += 1) void stranger.call('Decrypt', requestOf(number, 30, 1_000));
      await until(() => seen.length === 100, 'all of them judged unsound');
      assert.ok(
        seen.every((kept) => kept === 0),
        'nothing of their annotations is kept',
      );
      stranger.close();
    },
    { keys: { resolve } },
  );
});

test('Decrypts in flight retain no more than 4 MiB of requests, and the one who fills it makes room for another', () => {
  const { keys, answerAll } = createHeldKeys();
  return withKmsSocket(
    async ({ path, kms, client, reached }) => {
      await client.status();
      const strangers = Array.from({ length: 2 }, () => connectStranger(path));
      const request = (number: number) => requestOf(number, 16, 1_024);
      const sizeBytes = request(1_000).length;
      const calls = Array.from(
        { length: 1_000 },
        (_, number) => strangers[number % 2]?.call('Decrypt', request(number)) ?? Promise.resolve(-1),
      );
      let most = 0;
      const look = setInterval(() => {
        most = Math.max(most, kms.inFlight().decrypt);
      }, 1);
      await until(() => reached.has('retained_bytes'), 'the bound');
      // More than can be left over by chance.
      const honest = Array.from({ length: 20 }, (_, number) =>
        client.decrypt(DecryptRequest.decode(request(5_000 + number))),
      );
      let ended = 0;
      const count = () => {
        ended += 1;
      };
      for (const call of [...calls, ...honest]) void Promise.resolve<unknown>(call).then(count, count);
      await until(() => ended + kms.inFlight().decrypt === 1_020, 'each is refused or in flight');
      answerAll();
      for (const { plaintext } of await Promise.all(honest)) assert.is(plaintext.toString(), 'plaintext');
      const statuses = await statusesOf(calls);
      clearInterval(look);
      assert.ok((statuses['8'] ?? 0) > 0, `${JSON.stringify(statuses)}: some are RESOURCE_EXHAUSTED`);
      assert.is((statuses['0'] ?? 0) + (statuses['8'] ?? 0), 1_000);
      assert.ok(most <= maxRetainedBytes / sizeBytes + 1, `${most} in flight of ${sizeBytes} bytes each`);
      for (const stranger of strangers) stranger.close();
    },
    { keys, timeoutMs: 60_000 },
  );
});

test('a Decrypt does not wait behind the thousand that a stranger has asked for', () => {
  const { keys, answer, answered, answerAll } = createHeldKeys();
  return withKmsSocket(
    async ({ path, kms, client }) => {
      await client.status();
      const stranger = connectStranger(path);
      const calls = Array.from({ length: 1_000 }, (_, number) => stranger.call('Decrypt', requestOf(number, 8, 43)));
      await until(() => kms.inFlight().decrypt === 1_000, 'a long queue');
      let isServed = false;
      const honest = client
        .decrypt({ ciphertext: Buffer.from('vault:v1:h'), keyId: 'key', annotations: new Map() })
        .then(() => {
          isServed = true;
        });
      await until(() => kms.inFlight().decrypt === 1_001, 'one more that waits');
      await until(
        () => {
          answer();
          return isServed;
        },
        'its turn',
        10_000,
        2,
      );
      await honest;
      assert.ok(answered() <= 256, `${answered()} others were answered first`);
      answerAll();
      stranger.close();
      await Promise.all(calls);
    },
    { keys, timeoutMs: 60_000 },
  );
});

test.run();
