// T12 socket path replaced: whatever stands at the path is removed only when it is proven to be a dead socket; the directory
// must be ours alone; a name that was replaced while serving is noticed and not touched.

import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { bindUnixSocket } from '../../../supervisor/custody/bound-handle.ts';
import { pinDirectory } from '../../../supervisor/custody/pinned-directory.ts';
import { bindSocket, proveSocketDead, type SocketName } from '../../../supervisor/custody/socket.ts';
import { clock, randomHex } from '../../../supervisor/system.ts';
import { withInstallation } from '../../support/installation.ts';
import { untilHealthy } from '../../support/provider.ts';
import { skipWithout } from '../../support/skip.ts';
import { rejectsClass, throwsClass } from '../../support/throws.ts';
import { pluginId } from '../../support/workplace.ts';

const uid = process.geteuid?.() ?? -1;
const options = { gid: process.getegid?.() ?? -1, mode: 0o660, uid, randomHex };

async function withDirectory(
  run: (socket: SocketName, path: string, directory: string) => Promise<void>,
): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'bao-kms-t12-'));
  chmodSync(directory, 0o750);
  const pinned = pinDirectory(directory, 'runtime', uid);
  try {
    await run({ directory: pinned, name: 'kms.sock' }, join(directory, 'kms.sock'), directory);
  } finally {
    pinned.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

test('an absent name is free, and what is bound there is complete when it appears', () =>
  withDirectory(async (socket, path, directory) => {
    assert.is(await proveSocketDead(socket, clock), 'absent');
    const bound = bindSocket(socket, options);
    assert.is((lstatSync(path).mode & 0o777).toString(8), '660');
    assert.ok(bound.isOurs());
    assert.equal(readdirSync(directory), ['kms.sock']);
    bound.removeName();
    assert.not.ok(existsSync(path));
    bound.handle.close();
  }));

test('a live socket is refused and lives on', () =>
  withDirectory(async (socket, path) => {
    const server = createServer().unref();
    await new Promise<void>((resolve) => server.listen(path, resolve));
    await rejectsClass(proveSocketDead(socket, clock), 'socket_live');
    assert.ok(lstatSync(path).isSocket());
    await new Promise((resolve) => server.close(resolve));
  }));

test('a dead socket is proven dead and replaced', () =>
  withDirectory(async (socket, path) => {
    const dead = bindUnixSocket(`${path}.tmp`);
    execFileSync('mv', [`${path}.tmp`, path]);
    dead.close();
    assert.is(await proveSocketDead(socket, clock), 'dead');
    const bound = bindSocket(socket, options);
    assert.ok(bound.isOurs());
    bound.handle.close();
  }));

const foreign: readonly (readonly [string, (path: string) => void])[] = [
  ['a file', (path) => writeFileSync(path, 'mine')],
  ['a link to a socket', (path) => symlinkSync('/run/nowhere.sock', path)],
  ['a directory', (path) => mkdirSync(path)],
  ['a FIFO', (path) => execFileSync('mkfifo', [path])],
];

for (const [what, put] of foreign) {
  test(`${what} at the path is refused and left alone`, () =>
    withDirectory(async (socket, path) => {
      put(path);
      const before = lstatSync(path).ino;
      await rejectsClass(proveSocketDead(socket, clock), 'socket_target_invalid');
      assert.is(lstatSync(path).ino, before);
    }));
}

for (const mode of [0o770, 0o777, 0o752, 0o1777]) {
  test(`a runtime directory with mode ${mode.toString(8)} is refused`, () =>
    withDirectory(async (_socket, _path, directory) => {
      chmodSync(directory, mode);
      throwsClass(() => pinDirectory(directory, 'runtime', uid), 'directory_unsafe');
    }));
}

test('a runtime directory that is a link, a file, or missing is refused', () =>
  withDirectory(async (_socket, _path, directory) => {
    symlinkSync(directory, join(directory, 'link'));
    writeFileSync(join(directory, 'file'), '');
    for (const name of ['link', 'file', 'missing']) {
      throwsClass(() => pinDirectory(join(directory, name), 'runtime', uid), 'directory_unsafe');
    }
  }));

test('a runtime directory of somebody else is refused', () => {
  if (skipWithout(uid === 0, 'a foreign directory', 'root')) return;
  return withDirectory(async (_socket, _path, directory) => {
    chownSync(directory, 12_345, 0);
    throwsClass(() => pinDirectory(directory, 'runtime', uid), 'directory_unsafe');
  });
});

test('a directory swapped under us is noticed before anything is bound', () =>
  withDirectory(async (socket, _path, directory) => {
    execFileSync('mv', [directory, `${directory}-away`]);
    mkdirSync(directory, 0o750);
    try {
      throwsClass(() => bindSocket(socket, options), 'directory_unsafe');
      assert.equal([readdirSync(directory), readdirSync(`${directory}-away`)], [[], []]);
    } finally {
      rmSync(`${directory}-away`, { recursive: true });
    }
  }));

test('a name that was replaced while serving is not ours any more, and is not removed', () =>
  withDirectory(async (socket, path) => {
    const bound = bindSocket(socket, options);
    unlinkSync(path);
    writeFileSync(path, 'somebody else’s');
    assert.not.ok(bound.isOurs());
    bound.removeName();
    bound.handle.close();
    assert.is(readFileSync(path, 'utf8'), 'somebody else’s');
  }));

/** Runs a shell line as somebody; whether it worked. */
function as(uid: number, groups: string, line: string): boolean {
  const identity = [`--reuid=${uid}`, `--regid=${uid}`, groups === '' ? '--clear-groups' : `--groups=${groups}`];
  return spawnSync('setpriv', [...identity, '--', 'sh', '-c', line], { stdio: 'ignore' }).status === 0;
}

test('on a running provider with two users neither the plugin, nor the API server’s group, nor a stranger replaces the name', async () => {
  if (skipWithout(uid === 0, 'T12 across users', 'root')) return;
  await withInstallation(
    async ({ start, workplace }) => {
      await untilHealthy(start());
      const { ino } = lstatSync(workplace.socketPath);
      const run = `${workplace.directory}/run`;
      const somebody = [
        [pluginId, ''],
        [64_500, String(workplace.uid)],
        [64_501, ''],
      ] as const;
      for (const [who, groups] of somebody) {
        for (const line of [
          `rm -f ${run}/kms.sock`,
          `mv ${run}/kms.sock ${run}/x`,
          `touch ${run}/y`,
          `rm -f ${run}/.kms.sock.lock`,
        ]) {
          assert.not.ok(as(who, groups, line), `${who}: ${line}`);
        }
        const connect = `"${workplace.runtime}" -e "require('net').connect('${run}/kms.sock').on('connect',()=>process.exit(0)).on('error',()=>process.exit(1))"`;
        assert.is(as(who, groups, connect), groups !== '', `${who} connects only as a member of the socket’s group`);
      }
      assert.is(lstatSync(workplace.socketPath).ino, ino);
    },
    { hasTwoUsers: true },
  );
});

test.run();
