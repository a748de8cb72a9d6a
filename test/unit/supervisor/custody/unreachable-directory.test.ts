// A look at a held directory answers whatever the system says of its path; it runs in timers, where nobody catches.

import { mkdirSync, mkdtempSync, renameSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { watchCredentialDirectories } from '../../../../supervisor/custody/credential-directories.ts';
import { holdDirectory } from '../../../../supervisor/custody/held-directory.ts';

function lostBehindLoop(): { readonly path: string; readonly lose: () => void } {
  const base = mkdtempSync(join(tmpdir(), 'look-'));
  mkdirSync(`${base}/parent/creds`, { recursive: true });
  return {
    path: `${base}/parent/creds`,
    lose: () => {
      renameSync(`${base}/parent`, `${base}/away`);
      symlinkSync('parent', `${base}/parent`);
    },
  };
}

test('a held directory whose parent became a loop of links', () => {
  const { path, lose } = lostBehindLoop();
  const held = holdDirectory(path, 'forWatching');
  lose();
  assert.is.not(held.look(), 'here');
});

test('the watch of credential directories, too', () => {
  const { path, lose } = lostBehindLoop();
  const watched = watchCredentialDirectories({ paths: () => [path], event: () => {}, watch: () => () => {} });
  lose();
  assert.is.not(watched.look(), 'here');
});
test.run();
