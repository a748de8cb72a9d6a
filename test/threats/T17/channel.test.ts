// T17 compromised plugin, the channel: what it sends becomes no more than it may, invents no name and ends; what it does not read
// piles up for a moment only; and however often it commits, it can be replaced.

import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseState } from '../../../shared/registry/state.ts';
import { residentMb, withExchangeable } from '../../support/exchangeable.ts';
import { until } from '../../support/installation.ts';
import { untilHealthy } from '../../support/provider.ts';
import { throwsClass } from '../../support/throws.ts';

const trials: readonly (readonly [string, string])[] = [
  ['small objects', 'message_invalid'],
  ['a long word', 'frame_malformed'],
  ['a word of its own', 'message_invalid'],
  ['a frame byte by byte', 'channel_violation'],
];

/** One provider for two of them, so that the back-off does not grow over many. */
const speaks = (some: typeof trials) =>
  withExchangeable(async ({ installed, provider, turnHostile, turnGood }) => {
    const state = readFileSync(installed.workplace.statePath, 'utf8');
    const supervisor = provider.child.pid ?? 0;
    const before = residentMb(supervisor);
    let greatest = before;
    const watch = setInterval(() => {
      greatest = Math.max(greatest, residentMb(supervisor));
    }, 20);
    try {
      for (const [trial, errorClass] of some) {
        const seen = provider.log.length;
        await turnHostile(trial);
        const isEnd = (line: { message: string; error_class?: unknown }) =>
          ['plugin.violation', 'state.refused'].includes(line.message) && line.error_class === errorClass;
        await until(() => provider.log.slice(seen).some(isEnd), `${trial}: ${errorClass}`);
        turnGood();
        await untilHealthy(provider, 40_000);
      }
    } finally {
      clearInterval(watch);
    }
    assert.is(readFileSync(installed.workplace.statePath, 'utf8'), state);
    assert.not.ok(provider.text().includes('canary_class'));
    assert.not.ok((await provider.metrics()).includes('canary_class'));
    // Parsed, 8 MB of empty objects are 150 MB and more.
    assert.ok(greatest < before + 90, `${before} MB before, ${greatest} MB at most`);
  });

const readsNothing = () =>
  withExchangeable(async ({ installed, provider, turnHostile, turnGood }) => {
    const { workplace } = installed;
    const ca = readFileSync(workplace.caPath, 'utf8');
    await turnHostile('reads nothing');
    await provider.line((line) => line.message === 'plugin.started' && line['launch'] === 2);
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    turnGood();
    const seen = provider.log.length;
    for (const filler of ['#', '%']) {
      workplace.replaceFile(workplace.caPath, `${ca}\n${filler.repeat(900_000)}`, 0o644);
      await provider.line((line) => line.message === 'credential.changed' && provider.log.indexOf(line) >= seen);
      await new Promise((resolve) => setTimeout(resolve, 1_000));
    }
    workplace.replaceFile(workplace.caPath, ca, 0o644);
    await provider.line((line) => line.message === 'plugin.stuck', 30_000);
    await untilHealthy(provider, 40_000);
  });

const commits = () =>
  withExchangeable(async ({ provider, turnHostile, turnGood }) => {
    await turnHostile('commits all the time');
    await provider.line((line) => line.message === 'plugin.started' && line['launch'] === 2);
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    turnGood();
    process.kill(provider.child.pid ?? 0, 'SIGHUP');
    const done = await provider.line(
      (line) => line.message === 'reload.done' || line.message === 'reload.refused',
      40_000,
    );
    assert.is(done.message, 'reload.done');
    await untilHealthy(provider, 40_000);
  });

const liesAboutCredentials = () =>
  withExchangeable(async ({ provider, turnHostile, turnGood }) => {
    await turnHostile('says of its credentials what it likes');
    const isLie = (line: { message: string; error_class?: unknown }) =>
      line.message === 'credential.refused' && line.error_class === 'auth_rejected';
    await provider.line(isLie);
    await new Promise((resolve) => setTimeout(resolve, 5_000));
    turnGood();
    process.kill(provider.pluginPid(), 'SIGKILL');
    await untilHealthy(provider, 40_000);
    const lies = provider.log.filter(isLie);
    assert.ok(lies.length <= 30, `${lies.length} lines`);
    assert.not.ok(lies.some((line) => line['credential_generation'] === 999));
    const [, counted] =
      /credential_refusals_total\{name="jwt",class="auth_rejected"\} (\d+)/u.exec(await provider.metrics()) ?? [];
    assert.ok(Number(counted) <= 30, `${counted} counted`);
  });

/** All side by side: most of them wait. */
const started = [
  speaks(trials.slice(0, 2)),
  speaks(trials.slice(2)),
  readsNothing(),
  commits(),
  liesAboutCredentials(),
] as const;
for (const promise of started) promise.catch(() => {});

test('small objects, long and invented words, a frame byte by byte: each ends it, and the supervisor holds nothing of it', async () => {
  await started[0];
  await started[1];
});

test('a plugin that reads nothing of what it is told is replaced within seconds', () => started[2]);

test('a plugin that commits as fast as it can is reloaded away', () => started[3]);

test('what a plugin says of its credentials is bounded, and nothing is told of those that it was never sent', () =>
  started[4]);

test('a state of small objects is refused before it is parsed', () => {
  const state = `{"snapshots":[${'{},'.repeat(1_300_000)}{}]}`;
  assert.match(throwsClass(() => parseState(state), 'state_corrupt').message, /more values than/u);
});

test.run();
