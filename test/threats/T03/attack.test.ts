// T03 token theft: the OpenBao token is in the plugin's memory and nowhere else; no inspector opens, no core is written.

import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { withInstallation } from '../../support/installation.ts';
import { untilHealthy } from '../../support/provider.ts';
import { filesBelow, found, processText } from '../../support/search.ts';
import { skipWithout } from '../../support/skip.ts';

const debug = {
  change: (config: Record<string, unknown>) => {
    config['logging'] = { level: 'debug' };
  },
};

const search = (hasTwoUsers: boolean) =>
  withInstallation(
    async ({ start, bao, workplace }) => {
      const provider = start();
      await untilHealthy(provider);
      await provider.client.decrypt(await provider.client.encrypt(randomBytes(32)));
      const tokens = [...bao.access.tokens.values()].filter(({ isRoot }) => !isRoot);
      assert.ok(tokens.length > 0);
      const canaries: Record<string, string> = {};
      for (const [index, { id }] of tokens.entries()) canaries[`token ${index}`] = id;
      const jwt = readFileSync(workplace.jwtPath, 'utf8').trim();
      const places = [
        provider.text(),
        await provider.metrics(),
        processText(provider.pluginPid()),
        processText(provider.child.pid ?? 0),
      ];
      for (const text of places) assert.equal(found(text, { ...canaries, jwt }), []);
      for (const [path, text] of filesBelow(workplace.directory)) {
        assert.equal(found(text, path === workplace.jwtPath ? canaries : { ...canaries, jwt }), [], path);
      }
    },
    { ...debug, hasTwoUsers },
  );

test('token and JWT stand in no environment, command line, open file, written file, log or metric', () =>
  search(false));

test('the same with two users', async () => {
  if (skipWithout(process.geteuid?.() === 0, 'T03 with two users', 'root')) return;
  await search(true);
});

test('the debug signal opens no inspector in either process, and their core limit is 0', () =>
  withInstallation(async ({ start }) => {
    const provider = start();
    await untilHealthy(provider);
    const pids = [provider.pluginPid(), provider.child.pid ?? 0];
    for (const pid of pids) process.kill(pid, 'SIGUSR1');
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.not.match(provider.text(), /Debugger|ws:\/\//u);
    assert.is((await provider.client.status()).healthz, 'ok', 'both live on');
    assert.equal([provider.pluginPid(), provider.child.exitCode], [pids[0], null]);
    assert.match(readFileSync(`/proc/${pids[0]}/limits`, 'utf8'), /^Max core file size\s+0\s+0\s/mu);
  }));

test('the environment of the plugin holds nothing but time zone and locale', () =>
  withInstallation(async ({ start }) => {
    const provider = start();
    await untilHealthy(provider);
    const names = readFileSync(`/proc/${provider.pluginPid()}/environ`, 'utf8')
      .split('\0')
      .filter(Boolean)
      .map((entry) => entry.split('=')[0]);
    assert.equal(
      names.filter((name) => !['TZ', 'LANG', 'LC_ALL'].includes(name ?? '')),
      [],
    );
  }));

test.run();
