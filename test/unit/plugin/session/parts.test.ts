// Credentials that are used together: complete before they are tried, numbered so that a newer part is a newer whole.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Credential, hasSameBytes, NewestParts, newIn, numberOf } from '../../../../plugin/session/parts.ts';

const chain = (generation: number): Credential => ({
  name: 'client_chain',
  generation,
  bytes: Buffer.from(`chain ${generation}`),
});
const pin = (generation: number): Credential => ({ name: 'pin', generation, bytes: Buffer.from(`pin ${generation}`) });

test('there is nothing to try before each part is there, in whatever order they come', () => {
  const newest = new NewestParts(['client_chain', 'pin']);
  assert.is(newest.take(pin(1)), undefined);

  assert.equal(newest.take(chain(1)), [chain(1), pin(1)]);
});

test('a generation that is not newer is none', () => {
  const newest = new NewestParts(['pin']);
  newest.take(pin(2));

  assert.is(newest.take(pin(2)), undefined);
  assert.is(newest.take(pin(1)), undefined);
});

test('each newer part makes a larger number; that of a single part is its generation', () => {
  const newest = new NewestParts(['client_chain', 'pin']);
  newest.take(chain(1));
  const offered = [pin(1), chain(2), pin(3), chain(3)].map((part) => newest.take(part) ?? []);

  assert.equal(offered.map(numberOf), [2, 3, 5, 6]);
  assert.is(numberOf([pin(7)]), 7);
});

test('only the parts that are not the same generation are new', () => {
  assert.equal(newIn([chain(2), pin(1)], [chain(1), pin(1)]), [chain(2)]);
  assert.equal(newIn([chain(1), pin(1)], []), [chain(1), pin(1)]);
});

test('bytes are the same when those of each part are', () => {
  assert.ok(hasSameBytes([chain(1), pin(1)], [chain(1), pin(1)]));
  assert.not.ok(hasSameBytes([chain(1), pin(1)], [chain(1), pin(2)]));
  assert.not.ok(hasSameBytes([chain(1)], []));
});

test('the bytes of the newest are known as such, those before are not', () => {
  const newest = new NewestParts(['pin']);
  const [old, next] = [pin(1), pin(2)];
  newest.take(old);
  newest.take(next);

  assert.equal([newest.has(old.bytes), newest.has(next.bytes)], [false, true]);
});

test.run();
