// What a child leaves behind is ended with its process group.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { endGroup, hasEnded } from '../support/child.ts';

/** A shell that ends at once and leaves a process that holds its output. */
const leaving = () => spawn('sh', ['-c', 'sleep 20 &'], { stdio: ['ignore', 'pipe', 'ignore'], detached: true });

test('a process that a child left behind is ended, although the child has ended', async () => {
  const child = leaving();
  const startedAtMs = performance.now();
  const closed = once(child, 'close');
  await once(child, 'exit');

  endGroup(child);
  await closed;

  assert.ok(hasEnded(child));
  assert.ok(performance.now() - startedAtMs < 15_000);
});

test('a group in which nobody is left is no error', async () => {
  const child = leaving();
  const closed = once(child, 'close');
  endGroup(child);
  await closed;

  assert.not.throws(() => endGroup(child));
});

test.run();
