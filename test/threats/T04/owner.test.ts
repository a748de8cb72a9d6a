// T04 auth material theft, by owner: who owns a directory on the way to a file can put another file there, with a mode that
// was never wrong. Needs root for the foreign owners; what an ordinary user can show is shown by everybody.

import { chmodSync, chownSync, lchownSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Reader, readTrustedFile } from '../../../supervisor/custody/trusted-file.ts';
import { skipWithout } from '../../support/skip.ts';
import { throwsClass } from '../../support/throws.ts';

const isRoot = process.geteuid?.() === 0;
const stranger = 12_345;
const service = { uid: 64_321, gids: [64_321] };
const rules = { field: 'openbao.caCertFile', forbiddenBits: 0o022, maxBytes: 64 };

/** A tree below a directory of the caller: `home/certificates/ca.crt`, beside it `links`. */
function withTree(run: (tree: { readonly home: string; readonly links: string; readonly ca: string }) => void): void {
  const directory = mkdtempSync(join(tmpdir(), 'bao-kms-t04-owner-'));
  chmodSync(directory, 0o755);
  const at = (name: string) => join(directory, name);
  for (const name of ['home', 'home/certificates', 'links']) mkdirSync(at(name), { mode: 0o755 });
  writeFileSync(at('home/certificates/ca.crt'), 'ca', { mode: 0o644 });
  try {
    run({ home: at('home'), links: at('links'), ca: at('home/certificates/ca.crt') });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function refused(path: string, reader: Reader): unknown {
  const error = throwsClass(() => readTrustedFile(path, rules, reader), 'file_unsafe');
  assert.match(error.message, /^openbao\.caCertFile: .*(chown it to root|writable by other users)/u);
  return error.facts['reason'];
}

const withRoot = (what: string, run: () => void) =>
  test(what, () => {
    if (!skipWithout(isRoot, 'foreign owners', 'root')) run();
  });

for (const mode of [0o755, 0o700, 0o555]) {
  withRoot(
    `an ancestor of mode ${mode.toString(8)} that a stranger owns is refused, the nearest and a further one`,
    () =>
      withTree(({ home, ca }) => {
        chmodSync(home, mode);
        chownSync(home, stranger, stranger);
        assert.is(refused(ca, service), 'foreign_ancestor');
        chownSync(home, 0, 0);
        chownSync(dirname(ca), stranger, 0);
        assert.is(refused(ca, service), 'foreign_ancestor');
      }),
  );
}

withRoot('a directory of the service’s user is foreign to root, who runs a command, and not to the service', () =>
  withTree(({ home, ca }) => {
    chownSync(home, service.uid, service.uid);
    assert.is(readTrustedFile(ca, rules, service).bytes.toString(), 'ca');
    assert.is(refused(ca, { uid: 0, gids: [0] }), 'foreign_ancestor');
  }),
);

withRoot('a stranger’s directory that only holds a link to a good one is refused: the link can be turned', () =>
  withTree(({ links, ca }) => {
    symlinkSync(dirname(ca), join(links, 'current'));
    const path = join(links, 'current', 'ca.crt');
    assert.is(readTrustedFile(path, rules, service).bytes.toString(), 'ca');
    chownSync(links, stranger, stranger);
    assert.is(refused(path, service), 'foreign_ancestor');
  }),
);

withRoot('a stranger’s link in a sticky directory of root’s is refused', () =>
  withTree(({ links, ca }) => {
    chmodSync(links, 0o1777);
    symlinkSync(dirname(ca), join(links, 'current'));
    lchownSync(join(links, 'current'), stranger, stranger);
    assert.is(refused(join(links, 'current', 'ca.crt'), service), 'foreign_ancestor');
  }),
);

withRoot('a stranger’s directory that the path enters and leaves again is refused', () =>
  withTree(({ links, ca, home }) => {
    chownSync(links, stranger, stranger);
    symlinkSync(`${links}/../home/certificates`, join(home, 'round'));
    assert.is(refused(join(home, 'round', 'ca.crt'), service), 'foreign_ancestor');
    assert.is(readTrustedFile(ca, rules, service).bytes.toString(), 'ca');
  }),
);

test('a link in a directory that everybody may write is refused, a link of one’s own elsewhere is followed', () =>
  withTree(({ links }) => {
    const reader = { uid: process.geteuid?.() ?? -1, gids: [process.getegid?.() ?? -1] };
    symlinkSync('../home/certificates', join(links, '..data'));
    const path = join(links, '..data', 'ca.crt');
    assert.is(readTrustedFile(path, rules, reader).bytes.toString(), 'ca');
    chmodSync(links, 0o777);
    assert.is(refused(path, reader), 'unsafe_ancestor');
  }));

withRoot('what nodes have is read: a volume with `..data`, credentials of systemd, a sticky volume of root’s', () =>
  withTree(({ links, ca }) => {
    // A volume of Kubernetes: root's, sticky, a dated directory and a link to it.
    chmodSync(links, 0o1777);
    mkdirSync(join(links, '..2026_01_01'), { mode: 0o755 });
    writeFileSync(join(links, '..2026_01_01', 'ca.crt'), 'ca', { mode: 0o644 });
    symlinkSync('..2026_01_01', join(links, '..data'));
    assert.is(readTrustedFile(join(links, '..data', 'ca.crt'), rules, service).bytes.toString(), 'ca');
    // $CREDENTIALS_DIRECTORY: mode 0500, of the service's user, its files too.
    chownSync(ca, service.uid, service.uid);
    chmodSync(ca, 0o400);
    chownSync(dirname(ca), service.uid, service.uid);
    chmodSync(dirname(ca), 0o500);
    assert.is(readTrustedFile(ca, rules, service).bytes.toString(), 'ca');
  }),
);

test('links that go round are an end, not a loop', () =>
  withTree(({ links }) => {
    symlinkSync('b', join(links, 'a'));
    symlinkSync('a', join(links, 'b'));
    throwsClass(() => readTrustedFile(join(links, 'a', 'ca.crt'), rules, service), 'file_unsafe');
  }));

test.run();
