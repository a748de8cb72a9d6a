// What is seen of the name and the directories in custody, and what is said and asked for then.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ProviderError } from '../../../../shared/errors/error.ts';
import type { DirectoryFinding } from '../../../../supervisor/custody/held-directory.ts';
import { watchCustody } from '../../../../supervisor/custody/watch-custody.ts';
import { emptyCounters } from '../../../../supervisor/launch/counters.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';

function bench() {
  const clock = createFakeClock();
  const counters = emptyCounters(0);
  const world = { runtime: 'here' as DirectoryFinding, isSafe: true, isOurs: true as boolean | 'unknown' };
  const said: string[] = [];
  const watch = watchCustody({
    clock,
    log: (_level, message, fields) => said.push(`${message} ${fields?.['hint'] ?? fields?.['name'] ?? ''}`.trim()),
    counters,
    runtime: () => ({
      look: () => world.runtime,
      check: () => {
        if (!world.isSafe) throw new ProviderError('directory_unsafe', 'writable by others');
      },
    }),
    state: () => ({ look: () => 'here' }),
    isNameOurs: () => {
      if (world.isOurs === 'unknown') throw new Error('no directory');
      return world.isOurs;
    },
    credentialDirectories: () => [],
    credentialsChanged: () => said.push('credentials'),
    countersChanged: () => said.push('counters'),
    nameLost: () => said.push('name lost'),
    nameLooked: () => said.push('name looked'),
    directoriesLooked: () => said.push('directories'),
  });
  const heard = () => said.splice(0);
  /** The next look at the name, without what the looks at the directories say before and with it. */
  const nextName = async () => {
    await clock.advance(30_000);
    return heard().filter((one) => !['credentials', 'directories'].includes(one) && !one.startsWith('directory.gone'));
  };
  return { clock, counters, world, watch, heard, nextName };
}

test('directories and credentials are looked at every ten seconds, the name every thirty', async () => {
  const { clock, heard } = bench();
  await clock.advance(9_999);
  assert.equal(heard(), []);
  await clock.advance(1);
  assert.equal(heard(), ['directories', 'credentials']);
  await clock.advance(19_999);
  assert.equal(heard(), ['directories', 'credentials']);
  await clock.advance(1);
  assert.equal(heard().sort(), ['credentials', 'directories', 'name looked']);
});

test('a name that is lost in a safe directory is asked for at each look, and told once; so is that it was found', async () => {
  const { counters, world, nextName } = bench();
  world.isOurs = false;
  const [told = '', ...rest] = await nextName();
  assert.match(told, /^socket\.lost the socket was removed/u);
  assert.equal([rest, counters.socketLost], [['counters', 'name lost'], true]);
  assert.equal(await nextName(), ['name lost']);
  world.isOurs = true;
  assert.equal([await nextName(), counters.socketLost], [['socket.found', 'counters', 'name looked'], false]);
  assert.equal(await nextName(), ['name looked']);
});

test('in a directory that others may write a name counts as lost, and nothing is bound there', async () => {
  for (const isOurs of [true, false]) {
    const { counters, world, nextName } = bench();
    Object.assign(world, { isSafe: false, isOurs });
    const told = await nextName();
    assert.ok(told.includes('directory.unsafe writable by others'));
    assert.ok(told.some((one) => /^socket\.lost others may write/u.test(one)));
    assert.equal([told.includes('name lost'), counters.socketLost], [false, true]);
  }
});

test('a directory that is gone takes the name with it, and nobody is asked to bind it there', async () => {
  for (const runtime of ['missing', 'stale', 'unreachable'] as const) {
    const { counters, world, nextName } = bench();
    Object.assign(world, { runtime, isOurs: 'unknown' });
    const told = await nextName();
    assert.ok(told.some((one) => /^socket\.lost the directory of the socket is gone/u.test(one)));
    assert.equal([told.includes('name lost'), counters.socketLost], [false, true], runtime);
  }
});

test('a directory that was replaced by another one is a name to bind anew, at the look that sees it', async () => {
  const { clock, world, heard } = bench();
  world.runtime = 'replaced';
  await clock.advance(10_000);
  assert.ok(heard().includes('name lost'));
});

test('a look that is asked for tells the directories and nothing else', () => {
  const { watch, heard } = bench();
  watch.look();
  assert.equal(heard(), ['directories']);
});

test.run();
