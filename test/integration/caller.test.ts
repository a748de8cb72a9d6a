// Commands by hand, by the wrong user or a second time: what is said first, and that nothing was changed. Needs root, which
// alone can be somebody else.

import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Installed, install } from '../support/installation.ts';
import { type LogLine, untilHealthy } from '../support/provider.ts';
import { skipWithout } from '../support/skip.ts';
import type { Workplace } from '../support/workplace.ts';

const isRoot = process.geteuid?.() === 0;
const strangerId = 64_999;

/** The program and its words without the change of user that the workplace puts in front. */
function words(workplace: Workplace, ...args: string[]): string[] {
  const command = workplace.command(...args, '--config', workplace.configPath, '--development');
  return command.slice(command.findIndex((word) => word.endsWith('/bao-kms-provider')));
}

const asUser = (uid: number, ...options: string[]) => [
  'setpriv',
  `--reuid=${uid}`,
  `--regid=${uid}`,
  '--clear-groups',
  ...options,
  '--',
];

function run(workplace: Workplace, before: readonly string[], ...args: string[]) {
  const [command = '', ...rest] = [...before, ...words(workplace, ...args)];
  const { status, stderr } = spawnSync(command, rest, { cwd: workplace.directory, env: {}, encoding: 'utf8' });
  const log = stderr
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as LogLine);
  return { status, stderr, refusal: log.find(({ message }) => message === 'gate.refused') };
}

const everything = ({ directory }: Workplace) =>
  execFileSync('find', [directory, '-not', '-path', '*/dist*', '-printf', '%p %u %m %s\n'], { encoding: 'utf8' });

async function asRoot(title: string, act: (installed: Installed) => Promise<void>, hasTwoUsers = false): Promise<void> {
  if (skipWithout(isRoot, title, 'root')) return;
  const installed = await install({ hasTwoUsers });
  try {
    await act(installed);
  } finally {
    await installed.close();
  }
}

test('root starts the service by hand: it is told as whom, before anything else, and nothing was made', () =>
  asRoot('a start by root', async ({ workplace }) => {
    // The mistake that was the first thing told: now it is the last.
    execFileSync('chmod', ['0644', workplace.jwtPath]);
    const before = everything(workplace);
    const { status, refusal } = run(workplace, [], 'serve');

    assert.equal([status, refusal?.['check'], refusal?.['reason']], [5, 'gate.identity', 'wrong_user']);
    assert.match(
      String(refusal?.['hint']),
      /^run this as uid 64321: `setpriv --reuid=64321 --regid=64321 --clear-groups -- bao-kms-provider serve --config /u,
    );
    assert.is(everything(workplace), before);
  }));

test('a command by root, also where root may not trust the configuration: the same, on standard error', () =>
  asRoot('a command by root', async ({ workplace }) => {
    for (const owner of [`0:${workplace.uid}`, `${workplace.uid}:${workplace.uid}`]) {
      execFileSync('chown', [owner, workplace.configPath]);
      const { status, stderr } = run(workplace, [], 'rotation-plan');

      assert.is(status, 4);
      assert.match(stderr, /^bao-kms-provider: rotation-plan: gate\.identity: run this as uid 64321: `setpriv /u);
      assert.not.match(stderr, /chown/u);
    }
  }));

test('a line that was shown works as it is', () =>
  asRoot('the line that is shown', async ({ workplace, start }) => {
    await untilHealthy(start());
    const { stderr } = run(workplace, [], 'rotation-plan');
    const [, line = ''] = /`([^`]+)`/u.exec(stderr) ?? [];
    const [program = ''] = words(workplace);
    const shown = line.replace('bao-kms-provider', program);
    // Not synchronously: the command asks the OpenBao in this process.
    const again = await promisify(execFile)('/bin/sh', ['-c', shown], { cwd: workplace.directory });

    assert.is(again.stderr, '');
    assert.match(again.stdout, /^stateLoaded: true$/mu);
  }));

test('root starts a second provider by hand: the running one is named, not the user', () =>
  asRoot('a second start by root', async ({ workplace, start }) => {
    // Root trusts it, as in an installation: nothing on the way to it is somebody else's.
    execFileSync('chown', [
      `0:${workplace.uid}`,
      workplace.configPath,
      dirname(workplace.configPath),
      workplace.directory,
    ]);
    const first = start();
    await untilHealthy(first);
    const before = everything(workplace);
    const { status, refusal } = run(workplace, [], 'serve');

    assert.equal([status, refusal?.['check'], refusal?.['reason']], [5, 'gate.lock', 'locked']);
    assert.match(
      String(refusal?.['hint']),
      new RegExp(`^the provider with process id ${first.child.pid}, started `, 'u'),
    );
    assert.is(everything(workplace), before);
    assert.is((await first.client.status()).healthz, 'ok');
    const writing = [
      'retire-versions',
      '--before-version',
      '2',
      '--apply',
      '--expected-state-hash',
      `krs1.${'A'.repeat(43)}`,
    ];
    assert.match(run(workplace, [], ...writing).stderr, /gate\.lock: the provider with process id/u);
  }));

test('its own user starts a second one without the rights of the unit: the running one is named, not the capabilities', () =>
  asRoot(
    'a second start without capabilities',
    async ({ workplace, start }) => {
      const first = start();
      await untilHealthy(first);
      const second = run(workplace, asUser(workplace.uid), 'serve');

      assert.equal([second.status, second.refusal?.['check']], [5, 'gate.lock']);
      assert.match(String(second.refusal?.['hint']), new RegExp(`process id ${first.child.pid},`, 'u'));
      await first.stop();
      const alone = run(workplace, asUser(workplace.uid), 'serve');
      assert.equal(
        [alone.status, alone.refusal?.['check'], alone.refusal?.['reason']],
        [5, 'gate.identity', 'identity_unresolved'],
      );
      assert.match(String(alone.refusal?.['hint']), /CAP_SETUID/u);
    },
    true,
  ));

test('an ordinary user who may not read the configuration of an installation is told whose it is', () =>
  asRoot('a command by a stranger', async ({ workplace }) => {
    // A view of the host in which the directories of an installation are there, as tmpfiles makes them.
    const unshare = ['unshare', '--mount', '/bin/sh', '-c'];
    const state = '/var/lib/openbao-kms/state';
    const view = [
      'mount -t tmpfs -o mode=755 tmpfs /var/lib',
      `mkdir -p ${state} && chown ${workplace.uid} ${state} && chmod 0750 ${state}`,
      `exec ${[...asUser(strangerId), ...words(workplace, 'rotation-plan')].join(' ')}`,
    ].join(' && ');
    const canUnshare = spawnSync('unshare', ['--mount', 'true']).status === 0;
    if (skipWithout(canUnshare, 'a command by a stranger', 'a mount namespace')) return;
    const [command = '', ...rest] = [...unshare, view];
    const { status, stderr } = spawnSync(command, rest, {
      cwd: workplace.directory,
      env: { PATH: '/usr/bin:/bin' },
      encoding: 'utf8',
    });

    assert.is(status, 4);
    assert.match(
      stderr,
      new RegExp(`gate\\.identity: run this as uid ${workplace.uid}: .sudo -u '#${workplace.uid}' -- `, 'u'),
    );
  }));

test('a directory with the wrong owner is not taken for a wrong user', () =>
  asRoot('a state directory of another owner', async ({ workplace, start }) => {
    execFileSync('chown', ['64998', `${workplace.directory}/state`]);
    const provider = start();
    assert.is(await provider.exited, 5);
    const refusal = provider.log.find(({ message }) => message === 'gate.refused');
    assert.equal([refusal?.['check'], refusal?.['reason']], ['gate.lock', 'directory_unsafe']);
  }));

test.run();
