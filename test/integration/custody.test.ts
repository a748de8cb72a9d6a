// The socket's name and the directories while serving: lost, replaced, unsafe, full, read-only. What can be repaired is,
// what is somebody else's is left alone, and the service goes on meanwhile. The looks come every 30 s, so the scenarios that
// wait for one run side by side.

import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, lstatSync, readFileSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Installed, type InstallOptions, install, until, withInstallation } from '../support/installation.ts';
import { createKmsClient } from '../support/kms-client.ts';
import { type Provider, startProvider, untilHealthy } from '../support/provider.ts';
import { skipWithout } from '../support/skip.ts';

const isRoot = process.geteuid?.() === 0;
const lookMs = 45_000;

async function serving(run: (provider: Provider, installed: Installed) => Promise<void>, options: InstallOptions = {}) {
  await withInstallation(async (installed) => {
    const provider = installed.start();
    await untilHealthy(provider);
    await run(provider, installed);
  }, options);
}

/** A client that connects anew, by the name. */
async function reachable(socketPath: string): Promise<string> {
  const client = createKmsClient(socketPath);
  try {
    return (await client.status(2_000)).healthz;
  } finally {
    client.close();
  }
}

const scenarios = {
  removed: () =>
    serving(async (provider, { workplace }) => {
      unlinkSync(workplace.socketPath);
      await provider.client.encrypt(randomBytes(32));
      await provider.event('socket.lost', lookMs);
      await provider.event('socket.repaired', lookMs);
      await until(async () => (await reachable(workplace.socketPath)) === 'ok', 'service by the name');
      const { mode } = lstatSync(workplace.socketPath);
      assert.is((mode & 0o777).toString(8), '660');
      const metrics = await provider.metrics();
      assert.match(metrics, /openbao_kms_plugin_restarts_total\{reason="socket_lost"\} 1/u);
      assert.match(metrics, /openbao_kms_socket_lost 0/u);
      assert.not.ok((await provider.ready()).body['reasons']?.toString().includes('socket_lost'));
      await provider.stop();
      assert.not.ok(existsSync(workplace.socketPath), 'the new name is ours too');
    }),
  foreign: () =>
    serving(async (provider, { workplace }) => {
      unlinkSync(workplace.socketPath);
      writeFileSync(workplace.socketPath, 'somebody else’s');
      await provider.event('socket.repair_refused', lookMs);
      assert.is(readFileSync(workplace.socketPath, 'utf8'), 'somebody else’s');
      assert.is((await provider.client.status()).healthz, 'ok', 'connections there are go on');
      assert.equal((await provider.ready()).body['reasons'], ['socket_lost']);
      assert.match(await provider.metrics(), /openbao_kms_socket_lost 1/u);
      await provider.stop();
      assert.is(readFileSync(workplace.socketPath, 'utf8'), 'somebody else’s', 'nor at the stop');
    }),
  unsafe: () =>
    serving(async (provider, { workplace }) => {
      execFileSync('chmod', ['0770', `${workplace.directory}/run`]);
      await provider.event('directory.unsafe', lookMs);
      assert.is((await provider.client.status()).healthz, 'ok', 'service goes on');
      process.kill(provider.pluginPid(), 'SIGKILL');
      const refused = await provider.event('gate.refused');
      assert.is(refused['check'], 'gate.runtime_directory');
      execFileSync('chmod', ['0750', `${workplace.directory}/run`]);
      await untilHealthy(provider, 40_000);
    }),
} satisfies Record<string, () => Promise<void>>;

const titles: Record<keyof typeof scenarios, string> = {
  removed: 'a name that was removed is bound anew within 30 s, clients find it, and a stop removes it',
  foreign: 'a name that somebody else took is left alone, told in log, /ready and metrics, and service goes on',
  unsafe: 'a directory that turns unsafe is told, a relaunch is refused, and goes on by itself when it is put right',
};
let running: Map<string, Promise<void>> | undefined;

for (const name of Object.keys(scenarios) as (keyof typeof scenarios)[]) {
  test(titles[name], () => {
    running ??= new Map(
      Object.entries(scenarios).map(([key, scenario]) => {
        const promise = scenario();
        promise.catch(() => {});
        return [key, promise];
      }),
    );
    return running.get(name);
  });
}

test('a plugin that dies while the name is lost: the relaunch repairs it at once', () =>
  serving(async (provider, { workplace }) => {
    unlinkSync(workplace.socketPath);
    process.kill(provider.pluginPid(), 'SIGKILL');
    await provider.event('socket.repaired');
    await until(async () => (await reachable(workplace.socketPath).catch(() => '')) === 'ok', 'service by the name');
  }));

test('a dead socket of somebody who crashed at the name is proven dead and replaced', () =>
  serving(async (provider, { workplace }) => {
    const pathElsewhere = `${workplace.directory}/run/other.sock`;
    unlinkSync(workplace.socketPath);
    const script = "require('net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))";
    spawnSync(process.execPath, ['-e', script, pathElsewhere]);
    execFileSync('chown', [`${workplace.uid}`, pathElsewhere]);
    execFileSync('mv', [pathElsewhere, workplace.socketPath]);
    process.kill(provider.pluginPid(), 'SIGKILL');
    await provider.event('socket.repaired');
    await until(async () => (await reachable(workplace.socketPath).catch(() => '')) === 'ok', 'service by the name');
  }));

test('a reload while the gate refuses reads the configuration again', () =>
  serving(async (provider, { workplace }) => {
    execFileSync('chmod', ['0770', `${workplace.directory}/run`]);
    process.kill(provider.pluginPid(), 'SIGKILL');
    await provider.event('gate.refused');
    workplace.writeConfig((config) => {
      config['status'] = { probeInterval: '1s', deepProbeInterval: '2s', statusMaxStaleness: '66s' };
    });
    const refusals = () => provider.log.filter(({ message }) => message === 'gate.refused').length;
    const before = refusals();
    provider.child.kill('SIGHUP');
    // One that was under way when the signal came, and the one that it asked for.
    await until(() => refusals() >= before + 2, 'refusals after the signal', 60_000);
    execFileSync('chmod', ['0750', `${workplace.directory}/run`]);
    await untilHealthy(provider, 40_000);
    assert.match(await provider.metrics(), /status_max_staleness_seconds 66/u);
  }));

for (const [what, change] of [
  ['the same state, another socket', { socketPath: 'run/second.sock' }],
  ['the same socket, another state', { statePath: 'state/second.json' }],
] as const) {
  test(`a second instance with ${what} is refused, names the first and changes nothing`, () =>
    serving(async (provider, { workplace }) => {
      const inode = lstatSync(workplace.socketPath).ino;
      workplace.writeConfig((config) => {
        if ('socketPath' in change)
          Object.assign(config['server'] ?? {}, { socketPath: `${workplace.directory}/${change.socketPath}` });
        if ('statePath' in change) config['state'] = { path: `${workplace.directory}/${change.statePath}` };
      });
      const second = startProvider(workplace);
      assert.is(await second.exited, 5);
      second.client.close();
      const refusal = second.log.find(({ message }) => message === 'gate.refused');
      assert.is(refusal?.['check'], 'gate.lock');
      assert.match(String(refusal?.['hint']), new RegExp(`process id ${provider.child.pid}`, 'u'));
      assert.is(lstatSync(workplace.socketPath).ino, inode);
      assert.is((await provider.client.status()).healthz, 'ok');
    }));
}

/** The state directory on a file system of its own, 64 KiB small. */
async function withSmallDisk(run: (installed: Installed, directory: string) => Promise<void>, title: string) {
  const installed = await install();
  const directory = `${installed.workplace.directory}/state`;
  const options = `size=64k,nr_inodes=12,mode=0750,uid=${installed.workplace.uid},gid=${installed.workplace.uid}`;
  const isMounted = isRoot && spawnSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', directory]).status === 0;
  try {
    if (!skipWithout(isMounted, title, 'root and mount')) await run(installed, directory);
  } finally {
    for (const provider of providers.splice(0)) await provider.stop();
    if (isMounted) execFileSync('umount', ['-l', directory]);
    await installed.close();
  }
}
const providers: Provider[] = [];
const started = (installed: Installed) => {
  const provider = installed.start();
  providers.push(provider);
  return provider;
};
const fill = (directory: string) => spawnSync('dd', ['if=/dev/zero', `of=${directory}/ballast`, 'bs=1k', 'count=128']);

test('a full file system: a start that must make its lock is refused, and says what to do', () =>
  withSmallDisk(async (installed, directory) => {
    fill(directory);
    for (let index = 0; spawnSync('touch', [`${directory}/inode${index}`]).status === 0 && index < 12; index += 1);
    const provider = started(installed);
    assert.is(await provider.exited, 5);
    const refusal = provider.log.find(({ message }) => message === 'gate.refused');
    assert.is(refusal?.['check'], 'gate.lock');
    assert.match(String(refusal?.['hint']), /writable/u);
  }, 'a full file system at the first start'));

test('a file system that is full later: the save error shows, Decrypt goes on, and it recovers by itself', () =>
  withSmallDisk(async (installed, directory) => {
    const provider = started(installed);
    await untilHealthy(provider);
    const encrypted = await provider.client.encrypt(randomBytes(32));
    fill(directory);
    installed.engine.handle('write', 'keys/k8s-demo-etcd/rotate', {}, Math.floor(Date.now() / 1000));
    await provider.event('state.save_failed');
    await until(
      async () => String((await provider.ready()).body['reasons']).includes('state_save_failed'),
      'the reason in /ready',
    );
    assert.is((await provider.client.decrypt(encrypted)).plaintext.length, 32);
    rmSync(`${directory}/ballast`);
    await untilHealthy(provider);
    await until(async () => (await provider.ready()).body['rotation_state'] === 'pending', 'the newer version');
  }, 'a file system that is full later'));

test('a full file system with everything in place does not refuse a start', () =>
  withSmallDisk(async (installed, directory) => {
    const first = started(installed);
    await untilHealthy(first);
    await first.stop();
    fill(directory);
    await untilHealthy(started(installed));
  }, 'a full file system at a later start'));

test('an immutable file system refuses the start by the lock, and nothing is changed', () =>
  withSmallDisk(async (installed, directory) => {
    execFileSync('mount', ['-o', 'remount,ro', directory]);
    const provider = started(installed);
    assert.is(await provider.exited, 5);
    assert.is(provider.log.find(({ message }) => message === 'gate.refused')?.['check'], 'gate.lock');
    assert.not.ok(existsSync(installed.workplace.socketPath));
  }, 'an immutable file system'));

test('two users: the plugin is nobody the supervisor is, is killed and relaunched across users, and drains', async () => {
  if (skipWithout(isRoot, 'two users as in the unit', 'root')) return;
  await serving(
    async (provider, { workplace }) => {
      const status = readFileSync(`/proc/${provider.pluginPid()}/status`, 'utf8');
      assert.match(status, /^Uid:\t64322\t64322\t64322\t64322$/mu);
      assert.match(status, /^Gid:\t64322\t64322\t64322\t64322$/mu);
      assert.match(status, /^Groups:\t\s*$/mu);
      for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
        assert.match(status, new RegExp(`^${set}:\\t0+$`, 'mu'));
      assert.match(status, /^NoNewPrivs:\t1$/mu);
      assert.is((await provider.event('serve.start'))['privilege'], 'separate');
      const before = provider.pluginPid();
      process.kill(before, 'SIGSTOP');
      await provider.line((line) => line.message === 'plugin.exited' && line['pid'] === before, 40_000);
      await untilHealthy(provider);
      provider.child.kill('SIGHUP');
      await provider.event('reload.done');
      assert.is(await provider.stop(), 0);
      assert.not.ok(existsSync(workplace.socketPath));
    },
    { hasTwoUsers: true },
  );
});

test.run();
