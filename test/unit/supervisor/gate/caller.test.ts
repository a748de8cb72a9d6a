// Who calls: the owner of the state directory may, everybody else is told the command to run instead, and never to change an
// owner. The directories are real, the caller is claimed.

import { chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ProviderError } from '../../../../shared/errors/error.ts';
import { checkReader, checkUser, placesOf, socketLockPath, stateLockPath } from '../../../../supervisor/gate/caller.ts';

const isRoot = process.geteuid?.() === 0;
/** The user of the provider: nobody where we may choose, else ourselves. */
const provider = isRoot ? 64_321 : (process.geteuid?.() ?? -1);
const stranger = provider + 1;

const helpers = { prlimit: '/x', setpriv: '/x', flock: '/x', getent: '/usr/bin/getent' };

function depsOf(uid: number, names: Readonly<Record<number, string>>, words: readonly string[] = ['serve']) {
  return {
    identity: { uid, gids: [uid], nodeMajor: 24 },
    findHelper: () => undefined,
    runHelper: async (_path: string, args: readonly string[]) => {
      const name = names[Number(args[1])];
      return name === undefined
        ? { exitCode: 2, output: '' }
        : { exitCode: 0, output: `${name}:x:${args[1]}:1::/:/bin/sh\n` };
    },
    words,
  };
}

type Own = 'provider' | 'root' | 'absent';

/** State and runtime directory with these owners; `root` needs root. */
async function withPlaces(state: Own, runtime: Own, run: (directory: string) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'bao-kms-caller-'));
  try {
    for (const [name, own] of [['state', state] as const, ['run', runtime] as const]) {
      if (own === 'absent') continue;
      mkdirSync(join(directory, name));
      if (own === 'provider' && isRoot) chownSync(join(directory, name), provider, provider);
    }
    await run(directory);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

const placesIn = (directory: string) => ({
  statePath: `${directory}/state/key-registry.json`,
  socketPath: `${directory}/run/kms.sock`,
});

async function advice(run: Promise<void>): Promise<string> {
  const error = await run.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error === undefined) return 'passes';
  if (!(error instanceof ProviderError)) throw error;
  assert.is(error.class, 'wrong_user');
  assert.not.match(error.message, /chown/u);
  return error.message;
}

const both = { [provider]: 'openbao-kms', 0: 'root', [stranger]: 'alice' };

test('the owner of the state directory passes', () =>
  withPlaces('provider', 'provider', async (directory) => {
    assert.is(await advice(checkUser(placesIn(directory), depsOf(provider, both), helpers)), 'passes');
  }));

test('root is told the line with runuser, word for word', () =>
  withPlaces('provider', 'provider', async (directory) => {
    const words = ['retire-versions', '--config', "/etc/it's/config.yaml", '--before-version', '2'];
    assert.is(
      await advice(checkUser(placesIn(directory), depsOf(0, both, words), helpers)),
      "run this as openbao-kms: `runuser -u openbao-kms -- bao-kms-provider retire-versions --config '/etc/it'\\''s/config.yaml' " +
        '--before-version 2`; the state directory belongs to openbao-kms, and this is root',
    );
  }));

test('another user is told the line with sudo', () =>
  withPlaces('provider', 'provider', async (directory) => {
    assert.is(
      await advice(checkUser(placesIn(directory), depsOf(stranger, both), helpers)),
      'run this as openbao-kms: `sudo -u openbao-kms -- bao-kms-provider serve`; ' +
        'the state directory belongs to openbao-kms, and this is alice',
    );
  }));

test('users without a name are told by number', () =>
  withPlaces('provider', 'provider', async (directory) => {
    const numbered = (uid: number) => checkUser(placesIn(directory), depsOf(uid, {}), helpers);

    assert.match(
      await advice(numbered(stranger)),
      new RegExp(`^run this as uid ${provider}: .sudo -u '#${provider}' -- `, 'u'),
    );
    assert.match(
      await advice(numbered(0)),
      new RegExp(`setpriv --reuid=${provider} --regid=\\d+ --clear-groups -- `, 'u'),
    );
    const withoutGetent = { ...helpers, getent: undefined };
    const found = await advice(checkUser(placesIn(directory), depsOf(stranger, both), withoutGetent));
    assert.match(found, new RegExp(`^run this as uid ${provider}:`, 'u'));
  }));

test('without a state directory the runtime directory says whose the provider is; without both nothing is said', async () => {
  await withPlaces('absent', 'provider', async (directory) => {
    assert.match(
      await advice(checkUser(placesIn(directory), depsOf(0, both), helpers)),
      /the runtime directory belongs to/u,
    );
  });
  await withPlaces('absent', 'absent', async (directory) => {
    assert.is(await advice(checkUser(placesIn(directory), depsOf(0, both), helpers)), 'passes');
  });
});

if (isRoot) {
  test('a directory of root’s is no evidence: it was made with the wrong owner, and the checks of directories say so', async () => {
    await withPlaces('root', 'provider', async (directory) => {
      assert.is(await advice(checkUser(placesIn(directory), depsOf(provider, both), helpers)), 'passes');
      assert.match(
        await advice(checkUser(placesIn(directory), depsOf(stranger, both), helpers)),
        /the runtime directory/u,
      );
    });
    await withPlaces('root', 'root', async (directory) => {
      assert.is(await advice(checkUser(placesIn(directory), depsOf(provider, both), helpers)), 'passes');
      assert.is(await advice(checkUser(placesIn(directory), depsOf(0, both), helpers)), 'passes');
    });
  });
}

test('a configuration of somebody else’s, read by root: run it as that user', () =>
  withPlaces('absent', 'absent', async (directory) => {
    const path = `${directory}/config.yaml`;
    writeFileSync(path, '');
    if (isRoot) chownSync(path, provider, provider);

    assert.match(
      await advice(checkReader(path, depsOf(0, both), helpers)),
      /the configuration belongs to openbao-kms/u,
    );
    assert.is(await advice(checkReader(path, depsOf(stranger, both), helpers)), 'passes', 'the trust in files decides');
    assert.is(await advice(checkReader(`${directory}/none`, depsOf(0, both), helpers)), 'passes');
  }));

test('the places are those of the document, else those of an installation; the locks stand where they are taken', () => {
  const installed = {
    statePath: '/var/lib/openbao-kms/state/key-registry.json',
    socketPath: '/run/openbao-kms/kms.sock',
  };

  assert.equal(placesOf(undefined), installed);
  assert.equal(placesOf('no mapping'), installed);
  assert.equal(placesOf({ state: { path: 'relative' }, server: { socketPath: 7 } }), installed);
  assert.equal(placesOf({ state: { path: '/s/x' }, server: { socketPath: '/r/y' }, wrong: true }), {
    statePath: '/s/x',
    socketPath: '/r/y',
  });
  assert.is(stateLockPath(installed), '/var/lib/openbao-kms/state/key-registry.json.lock');
  assert.is(socketLockPath(installed), '/run/openbao-kms/.kms.sock.lock');
});

for (const [what, exitCode, output] of [
  ['a helper that failed', 2, `alice:x:${provider}:1::/:/bin/sh\n`],
  ['the line of another user', 0, `alice:x:${provider + 7}:1::/:/bin/sh\n`],
  ['a name that a shell would read', 0, `a$(id):x:${provider}:1::/:/bin/sh\n`],
] as const) {
  test(`${what} gives nobody a name: the user is told by number`, () =>
    withPlaces('provider', 'provider', async (directory) => {
      const deps = { ...depsOf(stranger, {}), runHelper: async () => ({ exitCode, output }) };
      const found = await advice(checkUser(placesIn(directory), deps, helpers));
      assert.match(found, new RegExp(`^run this as uid ${provider}:`, 'u'));
    }));
}

if (isRoot) {
  test('the owner of the state directory passes, whosever the runtime directory is, and the other way round where root asks', () =>
    withPlaces('provider', 'provider', async (directory) => {
      chownSync(join(directory, 'run'), stranger, stranger);
      assert.is(await advice(checkUser(placesIn(directory), depsOf(provider, both), helpers)), 'passes');
      assert.is(await advice(checkUser(placesIn(directory), depsOf(stranger, both), helpers)), 'passes');
    }));

  test('a configuration that is not there, in a directory of somebody else’s, tells root whose the provider is', () =>
    withPlaces('provider', 'provider', async (directory) => {
      const path = join(dirname(placesIn(directory).statePath), 'config.yaml');
      assert.match(
        await advice(checkReader(path, depsOf(0, both), helpers)),
        /a directory above the configuration belongs to/u,
      );
    }));

  test('root is told whose the provider is, although the runtime directory is root’s', () =>
    withPlaces('provider', 'root', async (directory) => {
      const found = await advice(checkUser(placesIn(directory), depsOf(0, both), helpers));
      assert.match(found, /^run this as openbao-kms:/u);
    }));
}

test.run();
