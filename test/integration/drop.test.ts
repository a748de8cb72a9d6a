// The drop, flag by flag, on real processes: with each one left out something of the supervisor stays with the child, and
// the gate or the greeting notices it. The parent has what the shipped unit gives: a supplementary group and four capabilities.

import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { confinementProblem, type Privilege, parseProcStatus } from '../../shared/confinement/confinement.ts';
import { pluginCommand } from '../../supervisor/launch/plugin-command.ts';
import { until } from '../support/installation.ts';
import { skipWithout } from '../support/skip.ts';

const isRoot = process.geteuid?.() === 0;
const helpers = { prlimit: '/usr/bin/prlimit', setpriv: '/usr/bin/setpriv' };
const capabilities = '-all,+setuid,+setgid,+setpcap,+kill';
const parent = [
  '--reuid=64321',
  '--regid=64321',
  '--groups=64321,64400',
  ...['bounding-set', 'inh-caps', 'ambient-caps'].map((set) => `--${set}=${capabilities}`),
];
const separate: Privilege = { kind: 'separate', uid: 64_322, gid: 64_322 };

/** Runs a command as the shipped supervisor would and returns what it printed, or undefined when it failed. */
function asSupervisor(command: readonly string[]): string | undefined {
  const { status, stdout } = spawnSync('setpriv', [...parent, '--', ...command], { encoding: 'utf8' });
  return status === 0 ? stdout : undefined;
}

/** What is wrong with a child that was dropped by these words. */
function problemOf(command: readonly string[]): string | undefined {
  const text = asSupervisor(command);
  return text === undefined ? 'the drop failed' : confinementProblem(parseProcStatus(text), separate);
}

const target = ['/bin/cat', '/proc/self/status'];
const whole = pluginCommand(helpers, separate, target);
const flags = whole.filter((word) => word.startsWith('--'));

test('with every flag nothing of the supervisor is left', () => {
  if (skipWithout(isRoot, 'the drop', 'root')) return;
  assert.is(problemOf(whole), undefined);
});

const wanted: Readonly<Record<string, string>> = {
  '--reuid=64322': 'uid',
  '--regid=64322': 'gid',
  '--clear-groups': 'the drop failed',
  '--no-new-privs': 'no_new_privs',
  '--inh-caps=-all': 'inheritable',
  '--bounding-set=-all': 'bounding',
};

test('these are all the flags of the drop; the three others have a test of their own', () => {
  assert.equal(
    flags.filter((flag) => !(flag in wanted)),
    ['--core=0:0', '--ambient-caps=-all', '--pdeathsig=KILL'],
  );
});

test('the ambient set falls with the inheritable one; without both flags capabilities stay effective', () => {
  if (skipWithout(isRoot, 'the drop without ambient and inheritable', 'root')) return;
  assert.is(problemOf(whole.filter((word) => word !== '--ambient-caps=-all')), undefined);
  assert.is(problemOf(whole.filter((word) => !word.includes('-caps=-all'))), 'effective');
});

for (const [flag, problem] of Object.entries(wanted)) {
  test(`without ${flag} it is noticed: ${problem}`, () => {
    if (skipWithout(isRoot, `the drop without ${flag}`, 'root')) return;
    assert.is(problemOf(whole.filter((word) => word !== flag)), problem);
  });
}

test('with spawn’s own uid and gid instead of the drop all four capabilities would stay', () => {
  if (skipWithout(isRoot, 'the drop by spawn', 'root')) return;
  const script =
    "const { stdout } = require('node:child_process').spawnSync('/bin/cat', ['/proc/self/status'], { uid: 64322, gid: 64322 }); process.stdout.write(stdout)";
  const text = asSupervisor([process.execPath, '-e', script]) ?? '';
  assert.is(parseProcStatus(text).effective, '00000000000001e0');
  assert.is(confinementProblem(parseProcStatus(text), separate), 'no_new_privs');
});

const limits = ['/bin/grep', 'core', '/proc/self/limits'];
test('the core limit falls with --core=0:0, and stays without it', () => {
  if (skipWithout(isRoot, 'the core limit', 'root')) return;
  const command = pluginCommand(helpers, separate, limits);
  const open = ['/usr/bin/prlimit', '--core=unlimited:unlimited'];
  const inParent = (words: readonly string[]) =>
    spawnSync(open[0] ?? '', [open[1] ?? '', 'setpriv', ...parent, '--', ...words], { encoding: 'utf8' }).stdout;
  assert.match(inParent(command), /size\s+0\s+0\s/u);
  assert.match(inParent(command.filter((word) => word !== '--core=0:0')), /size\s+unlimited\s+unlimited/u);
});

/** Starts a parent with such a child, kills the parent, and says whether the child is still there. */
async function survives(words: readonly string[]): Promise<boolean> {
  const shell = spawn('setpriv', [...parent, '--', 'sh', '-c', '"$@" & echo $!; wait', 'sh', ...words], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const pid = await new Promise<number>((resolve) => shell.stdout.once('data', (chunk) => resolve(Number(chunk))));
  await until(() => spawnSync('grep', ['-q', 'sleep', `/proc/${pid}/comm`]).status === 0, 'the child');
  shell.kill('SIGKILL');
  await new Promise((resolve) => shell.once('exit', resolve));
  const isThere = await until(() => isGone(pid), 'its end', 1_000).then(
    () => false,
    () => true,
  );
  if (isThere) process.kill(pid, 'SIGKILL');
  return isThere;
}

/** Gone, or dead and not yet reaped by whoever inherited it. */
function isGone(pid: number): boolean {
  return !existsSync(`/proc/${pid}`) || /^State:\s+Z/mu.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
}

test('the child dies with its parent across users by --pdeathsig=KILL, and lives on without it', async () => {
  if (skipWithout(isRoot, 'the parent-death signal', 'root')) return;
  const command = pluginCommand(helpers, separate, ['/bin/sleep', '20']);
  assert.not.ok(await survives(command));
  assert.ok(await survives(command.filter((word) => word !== '--pdeathsig=KILL')));
});

test.run();
