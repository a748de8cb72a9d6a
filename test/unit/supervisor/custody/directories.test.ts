// Directories that lost their name: what is seen of them, what is told, and when a process makes room for a new one.

import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { DirectoryName } from '../../../../shared/channel/messages.ts';
import { errorChain } from '../../../../shared/errors/error.ts';
import {
  type CredentialDirectories,
  watchCredentialDirectories,
} from '../../../../supervisor/custody/credential-directories.ts';
import { readDepartureMark, writeDepartureMark } from '../../../../supervisor/custody/departure-mark.ts';
import { createDirectoryWatch, type DirectoryFindings } from '../../../../supervisor/custody/directory-watch.ts';
import { type DirectoryFinding, holdDirectory } from '../../../../supervisor/custody/held-directory.ts';
import { findMountRoot, isDeletedRoot } from '../../../../supervisor/custody/mount-root.ts';
import { pinDirectory } from '../../../../supervisor/custody/pinned-directory.ts';
import { createDeparture, whyDepart } from '../../../../supervisor/lifecycle/departure.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';
import { limitOf } from '../../../support/patience.ts';

const markModule = new URL('../../../../supervisor/custody/departure-mark.ts', import.meta.url).href;
const uid = process.geteuid?.() ?? -1;
const allHere: DirectoryFindings = { runtime: 'here', credentials: 'here', state: 'here' };

function withPlace(run: (place: string) => void): void {
  const place = mkdtempSync(join(tmpdir(), 'bao-kms-directories-'));
  try {
    run(place);
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
}

const table = [
  '21 1 0:20 / / rw - tmpfs tmpfs rw',
  '63 21 254:0 /host/run /run/openbao-kms rw shared:7 - ext4 /dev/vda rw',
  '64 21 254:0 /host/gone//deleted /var/lib/openbao-kms/credentials rw - ext4 /dev/vda rw',
  '65 21 0:30 /blank /mnt/with\\040blank rw - tmpfs tmpfs rw',
  '66 63 0:31 /over /run/openbao-kms rw - tmpfs tmpfs rw',
  '',
].join('\n');

for (const [path, root] of [
  ['/etc', '/'],
  ['/run/openbao-kms', '/over'],
  ['/run/openbao-kms/below', '/over'],
  ['/run/openbao-kms-x', '/'],
  ['/var/lib/openbao-kms/credentials', '/host/gone//deleted'],
  ['/mnt/with blank/x', '/blank'],
] as const) {
  test(`the innermost and newest mount above ${path} shows ${root}`, () => {
    assert.is(findMountRoot(table, path), root);
    assert.is(isDeletedRoot(root), path.endsWith('credentials'));
  });
}

test('a table without a mount above the path tells nothing', () => {
  assert.is(findMountRoot('63 21 254:0 / /run rw - ext4 x rw\nnonsense\n1 2 3 4\n', '/etc'), undefined);
});

for (const use of ['forUse', 'forWatching'] as const) {
  test(`a directory held ${use} is here, missing, replaced and here again, as its path says`, () =>
    withPlace((place) => {
      const path = join(place, 'one');
      mkdirSync(path);
      const held = holdDirectory(path, use);
      const seen = [held.look()];
      renameSync(path, join(place, 'away'));
      seen.push(held.look());
      mkdirSync(path);
      seen.push(held.look());
      rmSync(path, { recursive: true });
      writeFileSync(path, 'a file');
      seen.push(held.look());
      rmSync(path);
      symlinkSync(join(place, 'away'), path);
      seen.push(held.look());
      rmSync(path);
      renameSync(join(place, 'away'), path);
      seen.push(held.look());
      held.close();
      assert.equal(seen, ['here', 'missing', 'replaced', 'replaced', 'replaced', 'here']);
    }));
}

test('a directory that was removed and made anew is another one, whatever inode number it gets', () =>
  withPlace((place) => {
    const path = join(place, 'one');
    mkdirSync(path);
    const held = holdDirectory(path, 'forWatching');
    for (let round = 0; round < 50; round += 1) {
      rmSync(path, { recursive: true });
      mkdirSync(path);
      assert.is(held.look(), 'replaced');
    }
    held.close();
  }));

test('a link is not held', () =>
  withPlace((place) => {
    mkdirSync(join(place, 'one'));
    symlinkSync(join(place, 'one'), join(place, 'link'));
    assert.throws(() => holdDirectory(join(place, 'link'), 'forWatching'));
  }));

/** Credential directories with a watcher that only counts. */
function watchPlace(paths: readonly string[], run: (watch: CredentialDirectories, watched: string[][]) => void): void {
  const watched: string[][] = [];
  const watch = watchCredentialDirectories({
    paths: () => paths,
    event: () => {},
    watch: (now) => {
      watched.push([...now]);
      return () => {};
    },
  });
  run(watch, watched);
  watch.close();
}

test('a replaced credentials directory is told once, and watched anew', () =>
  withPlace((place) => {
    const path = join(place, 'creds');
    mkdirSync(path);
    watchPlace([path], (watch, watched) => {
      assert.is(watch.look(), 'here');
      renameSync(path, join(place, 'away'));
      mkdirSync(path);
      assert.equal([watch.look(), watch.look(), watched.length], ['replaced', 'here', 2]);
    });
  }));

test('a credentials directory that is missing is taken when it is there, at the start and later', () =>
  withPlace((place) => {
    const path = join(place, 'creds');
    watchPlace([path], (watch, watched) => {
      assert.is(watch.look(), 'missing');
      mkdirSync(path);
      assert.equal([watch.look(), watch.look()], ['replaced', 'here']);
      rmSync(path, { recursive: true });
      assert.is(watch.look(), 'missing');
      mkdirSync(path);
      assert.equal([watch.look(), watch.look(), watched.length], ['replaced', 'here', 3]);
    });
  }));

test('a link that is swapped is watched anew and told to nobody', () =>
  withPlace((place) => {
    for (const name of ['one', 'two']) mkdirSync(join(place, name));
    symlinkSync('one', join(place, '..data'));
    watchPlace([join(place, '..data'), place], (watch, watched) => {
      symlinkSync('two', join(place, 'next'));
      renameSync(join(place, 'next'), join(place, '..data'));
      assert.equal([watch.look(), watched.length], ['here', 2]);
    });
  }));

function createWatchBench() {
  const findings: Record<DirectoryName, DirectoryFinding> = { ...allHere };
  const lines: string[] = [];
  const counters = { directoriesGone: [] as DirectoryName[] };
  let told = 0;
  const look = createDirectoryWatch({
    log: (level, message, fields) => lines.push(`${level} ${message} ${fields?.name} ${fields?.reason ?? ''}`.trim()),
    counters,
    look: {
      runtime: () => findings.runtime,
      credentials: () => findings.credentials,
      state: () => findings.state,
    },
    countersChanged: () => {
      told += 1;
    },
    looked: () => {},
  });
  return { findings, lines, counters, look, told: () => told };
}

test('a directory that is gone is an error, told once; when it is back that is told once too', () => {
  const { findings, lines, counters, look, told } = createWatchBench();
  look();
  findings.runtime = 'stale';
  findings.state = 'replaced';
  look();
  look();
  assert.equal(counters.directoriesGone, ['runtime', 'state']);
  findings.runtime = 'here';
  look();

  assert.equal(counters.directoriesGone, ['state']);
  assert.equal(lines, [
    'error directory.gone runtime stale',
    'error directory.gone state replaced',
    'info directory.found runtime',
  ]);
  assert.is(told(), 2);
});

test('a credentials directory that was replaced is not gone: files are read by their path', () => {
  const { findings, lines, counters, look } = createWatchBench();
  findings.credentials = 'replaced';
  look();
  assert.equal([counters.directoriesGone, lines], [[], ['info directory.replaced credentials']]);
});

for (const finding of ['missing', 'stale'] as const) {
  test(`a credentials directory that is ${finding} is gone`, () => {
    const { findings, counters, look } = createWatchBench();
    findings.credentials = finding;
    look();
    assert.equal(counters.directoriesGone, ['credentials']);
  });
}

type Facts = Parameters<typeof whyDepart>[0];
const facts = (change: Partial<Facts>): Facts => ({
  findings: allHere,
  goneMs: { runtime: 0, credentials: 0, state: 0 },
  isSaveDue: false,
  isCredentialGood: true,
  ...change,
});
const found = (name: DirectoryName, finding: DirectoryFinding) => ({ findings: { ...allHere, [name]: finding } });
const gone = (name: DirectoryName, ms: number) => ({ goneMs: { runtime: 0, credentials: 0, state: 0, [name]: ms } });

for (const [title, change, name] of [
  ['while everything is here', {}, undefined],
  ['for a runtime directory that only a new start can see', found('runtime', 'stale'), 'runtime'],
  [
    'for a runtime directory that has just gone',
    { ...found('runtime', 'missing'), ...gone('runtime', 9_999) },
    undefined,
  ],
  [
    'for one that is gone at the second look',
    { ...found('runtime', 'missing'), ...gone('runtime', 10_000) },
    'runtime',
  ],
  [
    'for one that was replaced, which is repaired',
    { ...found('runtime', 'replaced'), ...gone('runtime', 60_000) },
    undefined,
  ],
  ['for a state directory while nothing is to be saved', found('state', 'stale'), undefined],
  ['for one when a save is due', { ...found('state', 'stale'), isSaveDue: true }, 'state'],
  ['for one that was replaced when a save is due', { ...found('state', 'replaced'), isSaveDue: true }, 'state'],
  ['for a credentials directory while what is in use is good', found('credentials', 'stale'), undefined],
  ['for one when what is in use is not', { ...found('credentials', 'stale'), isCredentialGood: false }, 'credentials'],
  ['for one that was replaced', { ...found('credentials', 'replaced'), isCredentialGood: false }, undefined],
  ['for a bad credential alone', { isCredentialGood: false }, undefined],
] as const) {
  test(`${name === undefined ? 'nobody departs' : 'a process departs'} ${title}`, () => {
    assert.is(whyDepart(facts(change)), name);
  });
}

function createDepartureBench(
  options: { isUnderServiceManager?: boolean; lastAgoMs?: number; canNote?: boolean; isServing?: boolean } = {},
) {
  const clock = createFakeClock();
  const lastAtUnixMs = options.lastAgoMs === undefined ? undefined : clock.wallMs() - options.lastAgoMs;
  const departed: string[] = [];
  const noted: number[] = [];
  const postponed: number[] = [];
  const departure = createDeparture({
    clock,
    log: (_, message, fields) => {
      if (message === 'serve.departure_postponed') postponed.push(Number(fields?.next_try_ms));
    },
    isUnderServiceManager: options.isUnderServiceManager ?? true,
    isCredentialGood: () => true,
    isServing: () => options.isServing ?? true,
    lastAtUnixMs: () => lastAtUnixMs,
    note: (atUnixMs) => {
      if (options.canNote === false) return false;
      noted.push(atUnixMs);
      return true;
    },
    depart: (name) => departed.push(name),
  });
  const lose = () => departure.looked({ ...allHere, runtime: 'stale' });
  /** As the watch does. */
  const lookFor = async (ms: number) => {
    for (let passed = 0; passed < ms; passed += 10_000) {
      await clock.advance(10_000);
      lose();
    }
  };
  return { clock, departure, departed, noted, postponed, lose, lookFor };
}

test('a departure is noted before it happens, and happens once', () => {
  const { departed, noted, lose, clock } = createDepartureBench();
  lose();
  lose();
  assert.equal([departed, noted], [['runtime'], [clock.wallMs()]]);
});

test('without a service manager nobody departs', async () => {
  const { departed, lookFor } = createDepartureBench({ isUnderServiceManager: false });
  await lookFor(1_200_000);
  assert.equal(departed, []);
});

test('after a departure the next process stays for ten minutes of the last one, and says so once', async () => {
  const { departed, postponed, lose, lookFor } = createDepartureBench({ lastAgoMs: 60_000 });
  lose();
  await lookFor(530_000);
  assert.equal([departed, postponed], [[], [540_000]]);
  await lookFor(10_000);
  assert.equal(departed, ['runtime']);
});

for (const canNote of [true, false]) {
  test(`without a plugin nothing is lost by an end: nobody waits, ${canNote ? 'noted' : 'also where it cannot be noted'}`, () => {
    const { departed, lose } = createDepartureBench({ isServing: false, lastAgoMs: 60_000, canNote });
    lose();
    assert.equal(departed, ['runtime']);
  });
}

test('a departure noted by a clock that ran ahead is not one', () => {
  const { departed, lose } = createDepartureBench({ lastAgoMs: -3_600_000 });
  lose();
  assert.equal(departed, ['runtime']);
});

test('a wall clock that jumps back makes nobody wait longer than the life of the process', async () => {
  const { clock, departed, lookFor } = createDepartureBench({ lastAgoMs: 60_000 });
  await lookFor(300_000);
  clock.jumpWall(-300_000);
  await lookFor(290_000);
  assert.equal(departed, []);
  await lookFor(10_000);
  assert.equal(departed, ['runtime']);
});

test('where a departure cannot be noted the process must have lived ten minutes itself', async () => {
  const { departed, lookFor, lose } = createDepartureBench({ canNote: false });
  lose();
  await lookFor(590_000);
  assert.equal(departed, []);
  await lookFor(10_000);
  assert.equal(departed, ['runtime']);
});

test('a save that is due while the state directory is there is no reason, and is forgotten when it is back', () => {
  const { departure, departed } = createDepartureBench();
  departure.saveDue();
  departure.looked({ ...allHere, state: 'missing' });
  departure.looked(allHere);
  departure.looked({ ...allHere, state: 'stale' });
  assert.equal(departed, []);
  departure.saveDue();
  assert.equal(departed, ['state']);
});

test('the mark is written where it can be, and the newest one that is ours is read', () =>
  withPlace((place) => {
    const at = (directory: string) => ({
      directory: { at: (name: string) => join(place, directory, name) },
      name: 'kms.sock',
    });
    for (const name of ['one', 'two']) mkdirSync(join(place, name));
    const places = [at('one'), at('two'), at('missing')];
    assert.is(readDepartureMark(places, uid), undefined);
    assert.ok(writeDepartureMark([at('missing'), at('two')], 1_750_000_000_000));
    assert.not.ok(writeDepartureMark([at('missing')], 1));
    assert.ok(writeDepartureMark([at('one')], 1_750_000_000_001));
    assert.is(readDepartureMark(places, uid), 1_750_000_000_001);
    assert.is(readDepartureMark(places, uid + 1), undefined, 'of somebody else');
    assert.equal(readdirSync(join(place, 'one')), ['.kms.sock.departed']);
    for (const text of ['', 'x', '-1\n', '1e9\n', '1', '1'.repeat(40)]) {
      writeFileSync(join(place, 'one/.kms.sock.departed'), text);
      assert.is(readDepartureMark([at('one')], uid), undefined, text);
    }
  }));

test('a mark that is a link is neither followed nor written through', () =>
  withPlace((place) => {
    const target = join(place, 'target');
    writeFileSync(target, '5\n');
    chmodSync(target, 0o600);
    symlinkSync(target, join(place, '.kms.sock.departed'));
    const places = [{ directory: { at: (name: string) => join(place, name) }, name: 'kms.sock' }];
    assert.is(readDepartureMark(places, uid), undefined);
    assert.not.ok(writeDepartureMark(places, 6));
  }));

test('a shorter mark replaces a longer one as a whole', () =>
  withPlace((place) => {
    const places = [{ directory: { at: (name: string) => join(place, name) }, name: 'kms.sock' }];
    writeDepartureMark(places, 1_750_000_000_000);
    writeDepartureMark(places, 5);
    assert.is(readDepartureMark(places, uid), 5);
  }));

test('a mark that is a pipe holds nobody up', () =>
  withPlace((place) => {
    execFileSync('mkfifo', [join(place, '.kms.sock.departed')]);
    const script = `
      import { readDepartureMark, writeDepartureMark } from ${JSON.stringify(markModule)};
      const places = [{ directory: { at: (name) => ${JSON.stringify(place)} + '/' + name }, name: 'kms.sock' }];
      process.stdout.write(String([readDepartureMark(places, ${uid}), writeDepartureMark(places, 6)]));
    `;
    const options = { timeout: limitOf(20_000), encoding: 'utf8' } as const;
    const told = execFileSync(process.execPath, ['--no-warnings', '--input-type=module', '-e', script], options);
    assert.is(told, ',false');
  }));

test('a directory that was found again is gone only since it was lost anew', async () => {
  const { clock, departure, departed } = createDepartureBench();
  departure.looked({ ...allHere, runtime: 'missing' });
  await clock.advance(5_000);
  departure.looked(allHere);
  await clock.advance(5_000);
  departure.looked({ ...allHere, runtime: 'missing' });
  assert.equal(departed, []);
  await clock.advance(10_000);
  departure.looked({ ...allHere, runtime: 'missing' });
  assert.equal(departed, ['runtime']);
});

test('a departure that is postponed again for a new loss is said again', () => {
  const { departure, postponed, lose } = createDepartureBench({ lastAgoMs: 60_000 });
  lose();
  departure.looked(allHere);
  lose();
  assert.equal(postponed, [540_000, 540_000]);
});

for (const [mode, reason] of [
  [0o770, 'mode'],
  [0o707, 'mode'],
  [0o755, 'passes'],
] as const) {
  test(`a pinned directory with mode ${mode.toString(8)}: ${reason}; a refused one is not held`, () =>
    withPlace((place) => {
      chmodSync(place, mode);
      const before = readdirSync('/proc/self/fd').length;
      assert.is(
        reasonOf(() => pinDirectory(place, 'runtime', uid).close()),
        reason,
      );
      assert.is(readdirSync('/proc/self/fd').length, before);
    }));
}

test('a pinned directory that is removed afterwards no longer passes its check', () =>
  withPlace((place) => {
    mkdirSync(join(place, 'run'));
    const pinned = pinDirectory(join(place, 'run'), 'runtime', uid);
    pinned.check();
    rmSync(join(place, 'run'), { recursive: true });
    assert.is(reasonOf(pinned.check), 'missing');
    pinned.close();
  }));

test('no look at credentials directories, new or missing, leaves a descriptor open', () =>
  withPlace((place) => {
    const path = join(place, 'credentials');
    const before = readdirSync('/proc/self/fd').length;
    const directories = watchCredentialDirectories({ paths: () => [path], event: () => {}, watch: () => () => {} });
    for (let round = 0; round < 5; round += 1) {
      directories.look();
      mkdirSync(path);
      assert.is(directories.look(), 'replaced');
      directories.rewatch();
      rmSync(path, { recursive: true });
      directories.look();
      directories.rewatch();
    }
    directories.close();
    assert.is(readdirSync('/proc/self/fd').length, before);
  }));

function reasonOf(run: () => void): unknown {
  try {
    run();
    return 'passes';
  } catch (error) {
    return errorChain(error)[0]?.facts['reason'];
  }
}

test.run();
