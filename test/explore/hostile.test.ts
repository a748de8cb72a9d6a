// One lie of a hostile plugin that the rules let pass never ends the service for good: an honest plugin gets over it, or says the
// one command that does.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { exploreHostile } from './hostile.ts';

test('after every proposal that passes the rules an honest plugin serves, if need be after the command that it names', () => {
  const { stuck, ...counts } = exploreHostile();
  process.stdout.write(`${JSON.stringify(counts)}\n`);
  assert.equal(stuck.slice(0, 5), []);
  assert.ok(counts.passed > 500, 'proposals passed');
  assert.ok(counts.served > 20, 'needed no command');
  assert.ok(counts.repaired > 500, 'needed one');
});

test('without the rules of belief many lies could not be mended', () => {
  const { stuck } = exploreHostile(() => {}, 20);
  assert.ok(stuck.length >= 20, `${stuck.length}`);
});

test.run();
