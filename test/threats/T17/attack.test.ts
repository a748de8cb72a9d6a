// T17 compromised plugin: a plugin that has turned hostile writes nothing, reads nothing, starts nothing, forges no state and
// exhausts nobody; the supervisor survives it and the next good plugin serves.

import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { residentMb, withExchangeable } from '../../support/exchangeable.ts';
import { createExchangeableDistribution } from '../../support/hostile-distribution.ts';
import { type TrialTold, tellsOf, trialsIn } from '../../support/hostile-words.ts';
import { install, until } from '../../support/installation.ts';
import { untilHealthy } from '../../support/provider.ts';
import { skipWithout } from '../../support/skip.ts';

const succeeded = (trials: readonly TrialTold[]) =>
  trials.filter(({ outcome }) => outcome === 'SUCCEEDED').map(({ trial }) => trial);

test('files, processes, threads and the inspector are closed to it', () =>
  withExchangeable(async ({ installed, provider, turnHostile, turnGood }) => {
    const state = readFileSync(installed.workplace.statePath, 'utf8');
    await turnHostile('files');
    await provider.line(tellsOf('open the inspector'));
    const trials = trialsIn(provider.log).filter(
      ({ trial }) => !['began', 'listen', 'bind in the runtime directory'].includes(trial),
    );
    assert.is(trials.length, 7);
    assert.equal(succeeded(trials), []);
    assert.is(readFileSync(installed.workplace.statePath, 'utf8'), state);
    turnGood();
    process.kill(provider.pluginPid(), 'SIGKILL');
    await untilHealthy(provider);
  }));

const violations: readonly (readonly [string, string])[] = [
  ['an oversized frame', 'plugin.violation'],
  ['an empty frame', 'plugin.violation'],
  ['no JSON', 'plugin.violation'],
  ['an unknown kind', 'plugin.violation'],
  ['an unknown member', 'plugin.violation'],
  ['health before ready', 'plugin.violation'],
  ['a proposal before ready', 'plugin.violation'],
  ['ready twice', 'plugin.violation'],
  ['a flood of frames', 'plugin.violation'],
  ['two proposals at once', 'plugin.violation'],
  ['a state that is no state', 'state.refused'],
  ['capabilities that are not there', 'plugin.unconfined'],
];

/** One provider for a few of them, so that the back-off does not grow over many. */
function violateInTurn(trials: typeof violations): Promise<void> {
  return withExchangeable(async ({ installed, provider, turnHostile, turnGood }) => {
    const state = readFileSync(installed.workplace.statePath, 'utf8');
    const supervisor = provider.child.pid ?? 0;
    const residentBefore = residentMb(supervisor);
    for (const [trial, event] of trials) {
      const seen = provider.log.length;
      await turnHostile(trial);
      await until(() => provider.log.slice(seen).some((line) => line.message === event), `${trial}: ${event}`);
      turnGood();
      await untilHealthy(provider, 40_000);
      assert.is(provider.child.exitCode, null, trial);
    }
    assert.is(readFileSync(installed.workplace.statePath, 'utf8'), state);
    const resident = residentMb(supervisor);
    assert.ok(resident < residentBefore + 60, `${residentBefore} MB before, ${resident} MB after`);
  });
}

const hangs = () =>
  withExchangeable(async ({ provider, turnHostile, turnGood }) => {
    await turnHostile('a frame that never ends');
    const hostile = await provider.line((line) => line.message === 'plugin.started' && line['launch'] === 2);
    await provider.line(tellsOf('began'));
    turnGood();
    await provider.line((line) => line.message === 'plugin.exited' && line['pid'] === hostile['pid'], 40_000);
    await untilHealthy(provider);
    assert.is(provider.child.exitCode, null);
  });

/** All side by side: most of them wait. */
let started: { readonly groups: readonly Promise<void>[]; readonly hanging: Promise<void> } | undefined;
function startAll() {
  const groups = [0, 1, 2, 3].map((group) => violateInTurn(violations.filter((_, index) => index % 4 === group)));
  const hanging = hangs();
  for (const promise of [...groups, hanging]) promise.catch(() => {});
  return { groups, hanging };
}

test('each thing that it may not say ends it, the supervisor lives, and a good plugin serves afterwards', async () => {
  started ??= startAll();
  // When one has failed the others still end what they have started.
  for (const outcome of await Promise.allSettled(started.groups)) {
    if (outcome.status === 'rejected') throw outcome.reason;
  }
});

test('a plugin that begins a frame and never ends it is replaced after five seconds', async () => {
  started ??= startAll();
  await started.hanging;
});

test('taken over natively, without the runtime’s permission model: the second user still reaches nothing', async () => {
  if (skipWithout(process.geteuid?.() === 0, 'T17 across users', 'root')) return;
  const distribution = createExchangeableDistribution();
  const installed = await install({ distribution: distribution.directory, hasTwoUsers: true });
  const { workplace } = installed;
  const paths = { state: workplace.statePath, jwt: workplace.jwtPath, run: `${workplace.directory}/run` };
  const files = () =>
    [workplace.statePath, `${workplace.statePath}.checkpoint`].map((path) => readFileSync(path, 'utf8'));
  try {
    const good = installed.start();
    await untilHealthy(good);
    await good.stop();
    const before = files();
    await distribution.turnHostile('native', paths);
    distribution.dropPermissionModel();
    const provider = installed.start();
    await provider.line(tellsOf('done'));
    const trials = trialsIn(provider.log);
    assert.is(trials.length, 15, 'began, 13 trials, done');
    assert.equal(succeeded(trials), []);
    assert.equal(files(), before);
    assert.is(provider.child.exitCode, null);
  } finally {
    await installed.close();
    distribution.remove();
  }
});

test.run();
