// T17 compromised plugin: its group of processes is ended with it, and one that left the group holds nobody up.

import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { startChild } from '../../../supervisor/launch/child.ts';
import { clock } from '../../../supervisor/system.ts';
import { limitOf, until } from '../../support/patience.ts';

/** Runs a shell line as a plugin. */
function startShell(line: string) {
  let written = '';
  const child = startChild({
    command: ['/bin/sh', '-c', line],
    descriptors: [undefined, undefined, undefined],
    environment: { PATH: '/usr/bin:/bin' },
    clock,
  });
  child.output.on('data', (chunk: Buffer) => {
    written += chunk.toString('utf8');
  });
  return { child, written: () => written };
}

function isAlive(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) [ZX] /u.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return false;
  }
}

async function pidIn(written: () => string): Promise<number> {
  await until(() => /^\d+$/mu.test(written()), 'a process id');
  return Number(/^(\d+)$/mu.exec(written())?.[1]);
}

test('a process that the plugin started is ended with it, when it is killed and when it ends by itself', async () => {
  for (const [end, isKilled] of [
    ['exec sleep 1000', true],
    ['exit 0', false],
  ] as const) {
    const { child, written } = startShell(`sleep 1000 & echo $! >&2; ${end}`);
    const pid = await pidIn(written);
    if (isKilled) child.kill();
    await child.ended;
    await until(() => !isAlive(pid), 'the end of what it started', 2_000);
  }
});

test('one that left the group and holds the pipes open does not hold up the news of the end', async () => {
  const { child, written } = startShell('setsid sh -c "echo \\$\\$ >&2; exec sleep 1000" & sleep 0.3; exec sleep 1000');
  const pid = await pidIn(written);
  try {
    child.kill();
    const late = new Promise<string>((resolve) => setTimeout(() => resolve('late'), limitOf(2_000)));
    const end = await Promise.race([child.ended, late]);
    assert.equal(end, { reason: 'signal', exitCode: undefined, signal: 'SIGKILL' });
    assert.ok(child.channel.destroyed, 'nobody speaks in its name any more');
  } finally {
    process.kill(pid, 'SIGKILL');
  }
});

test('a command that is not there has ended', async () => {
  const nothing = [undefined, undefined, undefined];
  const child = startChild({ command: ['/nonexistent/x'], descriptors: nothing, environment: {}, clock });
  assert.equal(await child.ended, { reason: 'exit', exitCode: undefined, signal: undefined });
});

test.run();
