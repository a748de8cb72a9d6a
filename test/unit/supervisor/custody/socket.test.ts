// Left-over private names of the socket: ours are swept at a bind, and nothing of anybody else is.

import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { pinDirectory } from '../../../../supervisor/custody/pinned-directory.ts';
import { bindSocket } from '../../../../supervisor/custody/socket.ts';

const leftOver = '.kms.sock.0123abcd';

/** Binds as somebody for whom the left-over of this process is his own or not. */
async function namesAfterBind(uid: (own: number) => number): Promise<string[]> {
  const directory = mkdtempSync(join(tmpdir(), 'bao-kms-sweep-'));
  const server: Server = createServer();
  try {
    await new Promise<void>((resolve) => server.listen(join(directory, leftOver), resolve));
    writeFileSync(join(directory, '.kms.sock.deadbeef'), 'no socket');
    const pinned = pinDirectory(directory, 'runtime', process.geteuid?.());
    const { gid } = statSync(join(directory, leftOver));
    const own = process.geteuid?.() ?? -1;
    const options = { gid, mode: 0o660, uid: uid(own), randomHex: () => 'ffffffff' };
    const bound = bindSocket({ directory: pinned, name: 'kms.sock' }, options);
    const names = readdirSync(directory).sort();
    bound.handle.close();
    pinned.close();
    return names;
  } finally {
    server.close();
    rmSync(directory, { recursive: true });
  }
}

test('a left-over socket of our own is swept, a file of that name is not', async () => {
  assert.equal(await namesAfterBind((own) => own), ['.kms.sock.deadbeef', 'kms.sock']);
});

test('a left-over socket of somebody else stays', async () => {
  assert.equal(await namesAfterBind((own) => own + 1), [leftOver, '.kms.sock.deadbeef', 'kms.sock']);
});

test.run();
