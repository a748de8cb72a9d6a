// Before a relaunch: a state that is wrong by now refuses it, and nothing was changed.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ProviderError } from '../../../../shared/errors/error.ts';
import type { Listeners } from '../../../../supervisor/custody/listeners.ts';
import type { GateDeps } from '../../../../supervisor/gate/checks/check.ts';
import type { Passed } from '../../../../supervisor/gate/gate.ts';
import { reopen } from '../../../../supervisor/gate/reopen.ts';
import { GateRefusal } from '../../../../supervisor/refusal.ts';

function createHeld(refresh: () => Promise<unknown>, checkDirectory = () => {}, found = 'here') {
  const looked: string[] = [];
  const check = () => {
    looked.push('directory');
    checkDirectory();
  };
  const directory = {
    path: '/nonexistent/run',
    look: () => found,
    close: () => looked.push('closed'),
    check,
    at: (name: string) => `/x/${name}`,
  };
  const passed = { socket: { directory, name: 'kms.sock' }, locks: {}, store: { refresh } } as unknown as Passed;
  const listeners = { socket: { isOurs: () => looked.push('name') > 0 } } as unknown as Listeners;
  const look = { isSocketShut: async () => looked.push('shut') < 0 };
  return { looked, open: () => reopen(passed, listeners, {} as GateDeps, look) };
}

test('a state that was rolled back refuses a relaunch, and the socket is not touched', async () => {
  const { looked, open } = createHeld(async () => {
    throw new ProviderError('state_rollback', 'older than its checkpoint');
  });
  const error = await open().catch((thrown: unknown) => thrown);
  assert.instance(error, GateRefusal);
  assert.is((error as GateRefusal).check, 'gate.state');
  assert.equal(looked, ['directory']);
});

test('a runtime directory that is unsafe by now refuses a relaunch, before the state is looked at', async () => {
  let refreshed = 0;
  const { looked, open } = createHeld(
    async () => {
      refreshed += 1;
    },
    () => {
      throw new ProviderError('directory_unsafe', 'writable by others');
    },
  );
  const error = await open().catch((thrown: unknown) => thrown);
  assert.instance(error, GateRefusal);
  assert.is((error as GateRefusal).check, 'gate.runtime_directory');
  assert.equal([looked, refreshed], [['directory'], 0]);
});

test('a runtime directory that was replaced by something unsafe refuses a relaunch, and what is held stays', async () => {
  const { looked, open } = createHeld(
    async () => undefined,
    () => {},
    'replaced',
  );
  const error = await open().catch((thrown: unknown) => thrown);
  assert.instance(error, GateRefusal);
  assert.is((error as GateRefusal).check, 'gate.runtime_directory');
  assert.equal(looked, [], 'the old one is not looked at, and not closed');
});

test('where all is as it was, nothing is bound anew', async () => {
  const { looked, open } = createHeld(async () => undefined);
  const { isBoundAnew, wasShut } = await open();
  assert.equal([isBoundAnew, wasShut], [false, false]);
  assert.equal(looked, ['directory', 'name', 'shut']);
});

test.run();
