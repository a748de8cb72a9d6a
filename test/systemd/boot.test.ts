// The shipped unit on a booted systemd: start, order, status, confinement, crash, hang, watchdog, credentials, reload, OpenBao
// absent, refusals, stop, reboot. One machine; its steps build on each other.

import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { stringify } from 'yaml';
import {
  config,
  createSteps,
  exposure,
  isAnother,
  isHealthy,
  journal,
  lostDirectorySteps,
  mainPid,
  pluginPid,
  property,
  refusedStartStep,
  reloadStep,
  said,
  status,
  unit,
} from '../support/booted.ts';
import { createExchangeableDistribution } from '../support/hostile-distribution.ts';
import { trialsIn } from '../support/hostile-words.ts';
import { until } from '../support/installation.ts';
import { createKmsClient } from '../support/kms-client.ts';
import { startLoad } from '../support/load.ts';
import type { Machine } from '../support/machine.ts';
import { defaultInstallation } from '../support/openbao/provision.ts';
import { createAuthority, createLeaf } from '../support/pki.ts';
import { root } from '../support/workplace.ts';

const { step, end } = createSteps('trixie');

/** What docs/operations.md tells an operator to put into /etc/tmpfiles.d. */
function instanceDirectories(name: string): string {
  const text = readFileSync(join(root, 'docs/operations.md'), 'utf8');
  const [, lines = ''] = /```text\n(d \/etc\/openbao-kms\/NAME[\s\S]*?)```/u.exec(text) ?? [];
  return lines.replaceAll('NAME', name);
}

step('boots, is healthy, kubelet comes after the socket, and the status line says so', async ({ machine }) => {
  await machine.boot();
  await until(() => isHealthy(machine), 'a healthy status line', 30_000);
  assert.is(await property(machine, 'ActiveState'), 'active');
  assert.is(await said(machine, 'systemctl is-active kubelet'), 'active');
  assert.match(await said(machine, 'ls -l /run/openbao-kms/kms.sock'), /^srw-rw---- 1 openbao-kms openbao-kms-socket/u);
});

step('both users: four capabilities for the supervisor, nothing at all for the plugin', async ({ machine }) => {
  const supervisor = await said(machine, `cat /proc/${await mainPid(machine)}/status`);
  assert.match(supervisor, /^CapEff:\t00000000000001e0$/mu);
  const plugin = await said(machine, `cat /proc/${await pluginPid(machine)}/status`);
  for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
    assert.match(plugin, new RegExp(`^${set}:\\t0+$`, 'mu'));
  assert.match(plugin, /^NoNewPrivs:\t1$/mu);
  assert.match(plugin, /^Seccomp:\t2$/mu);
  assert.match(plugin, /^Groups:\t\s*$/mu);
});

step('systemd has the bounds of memory and tasks', async ({ machine }) => {
  assert.is(await property(machine, 'MemoryMax'), String(768 * 1_024 * 1_024));
  assert.is(await property(machine, 'TasksMax'), '64');
});

step('systemd-analyze security: at most 2.4', async ({ machine }) => {
  process.stdout.write(`two users: ${await exposure(machine)}\n`);
  assert.ok((await exposure(machine)) <= 2.4);
});

step(
  'in the unit’s view uid 0 finds no secrets of the host and nothing to write but the way to systemd',
  async ({ machine }) => {
    const drop = 'setpriv --bounding-set=-all,+setuid,+setgid,+setpcap,+kill --inh-caps=-all --no-new-privs';
    const inside = async (line: string) =>
      said(machine, `nsenter -t ${await mainPid(machine)} -m -- ${drop} sh -c '${line}'`);
    assert.is(await inside('find / -xdev -writable -not -path "/proc/*" 2>/dev/null'), '/run/systemd/notify');
    for (const path of ['/etc/shadow', '/etc/gshadow', '/root', '/home', '/etc/ssh', '/var/log', '/etc/kubernetes']) {
      assert.match(await inside(`ls ${path}`), /No such file/u, path);
    }
  },
);

step('a killed plugin is relaunched by the supervisor, which stays', async ({ machine }) => {
  const [supervisor, plugin] = [await mainPid(machine), await pluginPid(machine)];
  await machine.run(`kill -9 ${plugin}`);
  await until(async () => isAnother(await pluginPid(machine), plugin) && (await isHealthy(machine)), 'a new plugin');
  assert.is(await mainPid(machine), supervisor);
  await until(async () => /relaunches 1/u.test(await status(machine)), 'the relaunch in the status line');
});

step('a plugin whose loop is blocked is replaced after ten seconds', async ({ machine }) => {
  const plugin = await pluginPid(machine);
  await machine.run(`kill -STOP ${plugin}`);
  await until(
    async () => isAnother(await pluginPid(machine), plugin) && (await isHealthy(machine)),
    'a new plugin',
    30_000,
  );
});

step('a new JWT comes into use without a restart', async ({ machine, issuer }) => {
  const plugin = await pluginPid(machine);
  machine.write('/var/lib/openbao-kms/credentials/next', issuer.issue({ jti: 'two' }), 0o640, 'openbao-kms');
  await machine.run('mv /var/lib/openbao-kms/credentials/next /var/lib/openbao-kms/credentials/identity.jwt');
  await until(
    async () => /"name":"jwt","credential_generation":2,"message":"credential.in_use"/u.test(await journal(machine)),
    'the new generation',
    25_000,
  );
  assert.is(await pluginPid(machine), plugin);
});

step(
  'a new CA, and a new certificate of the server, come into use without a restart',
  async ({ machine, bao, authority }) => {
    const plugin = await pluginPid(machine);
    const next = await createAuthority('the next CA');
    const install = async (pem: string) => {
      machine.write('/etc/openbao-kms/tls/next', pem);
      await machine.run('mv /etc/openbao-kms/tls/next /etc/openbao-kms/tls/ca.crt');
    };
    const isInUse = async (generation: number) =>
      new RegExp(`"name":"openbao_ca","credential_generation":${generation},"message":"credential.in_use"`, 'u').test(
        await journal(machine),
      );
    await install(`${authority.pem}${next.pem}`);
    await until(() => isInUse(2), 'both', 25_000);
    bao.useLeaf(await createLeaf(next));
    await install(next.pem);
    await until(() => isInUse(3), 'the next one alone', 25_000);
    assert.is(await pluginPid(machine), plugin);
    assert.ok(await isHealthy(machine));
  },
);

step('status line, /ready and metrics say the same within a second of the last change', async ({ machine, bao }) => {
  const started = (await journal(machine)).match(/"metrics_address":"[^"]+","health_address":"[^"]+"/gu)?.at(-1) ?? '';
  const [, metrics, health] = /"metrics_address":"([^"]+)","health_address":"([^"]+)"/u.exec(started) ?? [];
  const engine = bao.transit.get(defaultInstallation.mountPath);
  assert.ok(engine);
  for (const [isDisabled, healthz] of [
    [false, 'unhealthy'],
    [true, 'ok'],
  ] as const) {
    engine.isUpsertDisabled = isDisabled;
    const ready = async () => (await (await fetch(`http://${health}/ready`)).json()) as Record<string, unknown>;
    await until(async () => (await ready())['healthz'] === healthz, `/ready: ${healthz}`);
    const line = isDisabled ? /^healthy; / : /^unhealthy: upsert_allowed/u;
    await until(async () => line.test(await status(machine)), `the status line: ${healthz}`, 1_000);
    assert.is((await ready())['healthz'], healthz);
    // One text serves everybody who asks within a second.
    const told = new RegExp(`status_healthy ${isDisabled ? 1 : 0}\n`, 'u');
    await until(async () => told.test(await (await fetch(`http://${metrics}/metrics`)).text()), 'the metrics', 1_000);
  }
});

reloadStep(step);

step('a supervisor whose loop is blocked is restarted by the watchdog', async ({ machine }) => {
  const supervisor = await mainPid(machine);
  await machine.run(`kill -STOP ${supervisor}`);
  await until(
    async () => isAnother(await mainPid(machine), supervisor) && (await isHealthy(machine)),
    'a new supervisor',
    40_000,
  );
});

step(
  'OpenBao absent at a restart: active as degraded after the grace, healthy when it arrives',
  async ({ machine, bao }) => {
    bao.fault = () => 'close';
    await machine.run(`systemctl restart ${unit}`);
    assert.is(await property(machine, 'ActiveState'), 'active');
    assert.match(await status(machine), /^unhealthy: /u);
    bao.fault = undefined;
    await until(() => isHealthy(machine), 'healthy again', 60_000);
  },
);

const client = (machine: Machine) => createKmsClient(machine.inside('/run/openbao-kms/kms.sock'));

step('systemctl restart under a load of Decrypts: not one call fails', async ({ machine }) => {
  const kms = client(machine);
  const load = await startLoad(kms, { inFlight: 8, methods: ['decrypt'], pauseMs: 5 });
  const supervisor = await mainPid(machine);
  for (let round = 0; round < 3; round += 1) {
    const before = load.served();
    assert.is((await machine.run(`systemctl restart ${unit}`)).status, 0);
    await until(() => load.served() > before + 100, 'calls after the restart');
  }
  assert.equal(await load.stop(), []);
  assert.is.not(await mainPid(machine), supervisor);
  kms.close();
});

step('systemctl stop while calls run: none is cut, and no socket is left', async ({ machine, bao }) => {
  const kms = client(machine);
  // Identical ones would share one call.
  const sealed = await Promise.all(Array.from({ length: 16 }, () => kms.encrypt(randomBytes(32))));
  let arrived = 0;
  bao.fault = async ({ path, body }) => {
    if (!path.includes('/decrypt/')) return undefined;
    const batch = body['batch_input'];
    arrived += Array.isArray(batch) ? batch.length : 1;
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    return undefined;
  };
  const running = sealed.map((one) => kms.decrypt(one, 'u', 10_000));
  await until(() => arrived >= running.length, 'the calls at OpenBao');
  assert.is((await machine.run(`systemctl stop ${unit}`)).status, 0);
  bao.fault = undefined;
  const answers = await Promise.allSettled(running);
  assert.ok(answers.every(({ status: outcome }) => outcome === 'fulfilled'));
  assert.match(await said(machine, 'ls /run/openbao-kms/kms.sock'), /No such file/u);
  kms.close();
  assert.is((await machine.run(`systemctl start ${unit}`)).status, 0);
  await until(() => isHealthy(machine), 'service after the stop', 30_000);
});

lostDirectorySteps(step);

step('an instance serves a second key beside the first, with files of its own', async ({ machine, bao, issuer }) => {
  const instance = 'bao-kms-provider@second.service';
  machine.write('/etc/openbao-kms/second/config.yaml', stringify(config(bao.address, 'second')), 0o640, 'openbao-kms');
  machine.write('/var/lib/openbao-kms/second/credentials/identity.jwt', issuer.issue(), 0o640, 'openbao-kms');
  machine.write('/etc/tmpfiles.d/openbao-kms-second.conf', instanceDirectories('second'));
  assert.is((await machine.run('systemd-tmpfiles --create openbao-kms-second.conf')).status, 0);
  const { status: code, output } = await machine.run(`systemctl start ${instance}`);
  assert.is(code, 0, output);
  const second = createKmsClient(machine.inside('/run/openbao-kms/second/kms.sock'));
  assert.is((await second.status()).healthz, 'ok');
  second.close();
  await until(
    async () => /^healthy; .*key /u.test(await said(machine, `systemctl show -p StatusText --value ${instance}`)),
    'its status line',
  );
  const pid = await said(machine, `systemctl show -p MainPID --value ${instance}`);
  const sees = await said(machine, `nsenter -t ${pid} -m -- ls /run/openbao-kms /var/lib/openbao-kms /etc/openbao-kms`);
  assert.not.match(sees, /kms\.sock$|credentials$|config\.yaml$/mu, 'nothing of the first instance in its view');
  assert.ok(await isHealthy(machine), 'the first one serves on');
  assert.is((await machine.run(`systemctl stop ${instance}`)).status, 0);
});

step('a plugin taken over natively reaches nothing from inside the unit', async ({ machine }) => {
  const hostile = createExchangeableDistribution();
  const lib = '/usr/lib/bao-kms-provider/lib';
  const paths = {
    state: '/var/lib/openbao-kms/state/key-registry.json',
    jwt: '/var/lib/openbao-kms/credentials/identity.jwt',
    run: '/run/openbao-kms',
  };
  const copy = (from: string) => execFileSync('sh', ['-c', `cp ${from}/*.mjs ${machine.directory}${lib}/`]);
  const state = await said(machine, `cat ${paths.state} ${paths.state}.checkpoint`);
  await hostile.turnHostile('native', paths);
  hostile.dropPermissionModel();
  copy(`${hostile.directory}/lib`);
  await machine.run(`systemctl restart --no-block ${unit}`);
  const lines = async () => (await journal(machine)).split('\n').filter((line) => line.startsWith('{"level":'));
  const trials = async () => trialsIn((await lines()).map((line) => JSON.parse(line)));
  await until(async () => (await trials()).some(({ trial }) => trial === 'done'), 'the trials', 30_000);
  copy(join(root, 'dist/lib'));
  hostile.remove();
  const outcomes = await trials();
  assert.ok(outcomes.length >= 15);
  assert.equal(
    outcomes.flatMap(({ trial, outcome }) => (outcome === 'SUCCEEDED' ? [trial] : [])),
    [],
  );
  assert.is(await said(machine, `cat ${paths.state} ${paths.state}.checkpoint`), state);
  await machine.run(`systemctl restart ${unit}`);
  await until(() => isHealthy(machine), 'a good plugin again', 40_000);
});

step(
  'one user: exposure at most 1.6, no capability anywhere, and log and status line say same-user',
  async ({ machine, bao }) => {
    const dropIn = `/etc/systemd/system/${unit}.d/same-user.conf`;
    machine.write(dropIn, readFileSync(join(root, 'deploy/systemd/same-user.conf'), 'utf8'));
    const path = '/etc/openbao-kms/config.yaml';
    machine.write(path, stringify({ ...config(bao.address), process: undefined }), 0o640, 'openbao-kms');
    assert.is((await machine.run(`systemctl daemon-reload && systemctl restart ${unit}`)).status, 0);
    await until(async () => /^healthy; .*privilege same-user/u.test(await status(machine)), 'the status line');
    const alone = await exposure(machine);
    // What docs/hardening.md asks every operator to add; here OpenBao is on loopback.
    const network = `/etc/systemd/system/${unit}.d/network.conf`;
    machine.write(network, '[Service]\nIPAddressDeny=any\nIPAddressAllow=localhost\n');
    assert.is((await machine.run(`systemctl daemon-reload && systemctl restart ${unit}`)).status, 0);
    await until(async () => /^healthy; /u.test(await status(machine)), 'service behind the address filter');
    process.stdout.write(`one user: ${alone}, with the address filter ${await exposure(machine)}\n`);
    assert.ok((await exposure(machine)) <= 1.6);
    const capabilities = await said(machine, `grep -h Cap /proc/${await mainPid(machine)}/status`);
    assert.match(capabilities, /^(?:Cap\w+:\t0+(?:\n|$))+$/u);
    assert.match(await journal(machine), /"privilege":"same-user"/u);
    machine.write(path, stringify(config(bao.address)), 0o640, 'openbao-kms');
    await machine.run(`rm ${dropIn} ${network}; systemctl daemon-reload; systemctl restart ${unit}`);
    await until(() => isHealthy(machine), 'two users again', 30_000);
  },
);

refusedStartStep(step);

step('a runtime directory with a wrong mode: the start is refused and the journal says why', async ({ machine }) => {
  await machine.run(`systemctl stop ${unit}`);
  assert.match(await said(machine, 'ls /run/openbao-kms/kms.sock'), /No such file/u, 'a clean stop leaves no socket');
  await machine.run(`chmod g+w /run/openbao-kms; systemctl start --no-block ${unit}; sleep 2`);
  assert.is.not(await property(machine, 'ActiveState'), 'active');
  assert.match(await journal(machine), /"reason":"directory_unsafe","check":"gate.runtime_directory"/u);
  await machine.run('chmod g-w /run/openbao-kms');
  await until(() => isHealthy(machine), 'service after the repair', 30_000);
});

step('after a reboot everything is there again', async ({ machine }) => {
  await machine.powerOff();
  await machine.boot();
  await until(() => isHealthy(machine), 'healthy after the reboot', 30_000);
});

end();

test.run();
