// The shipped unit in a booted machine of a Debian release, an OpenBao in this process, and the questions that its tests ask.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { stringify } from 'yaml';
import { until } from './installation.ts';
import { createKmsClient } from './kms-client.ts';
import { createMachine, type Machine, missingForMachine, NoMachine, type Release } from './machine.ts';
import { defaultInstallation } from './openbao/provision.ts';
import { type Provisioned, startProvisioned } from './openbao/provisioned.ts';
import { skipWithout } from './skip.ts';

const missing = missingForMachine();
/** The shipped unit. */
export const unit = 'bao-kms-provider.service';

export type World = Provisioned & { readonly machine: Machine };

async function openWorld(release: Release): Promise<World> {
  const { bao, issuer, authority } = await startProvisioned();
  const machine = createMachine(release);
  machine.write('/etc/openbao-kms/tls/ca.crt', authority.pem);
  machine.write('/var/lib/openbao-kms/credentials/identity.jwt', issuer.issue(), 0o640, 'openbao-kms');
  machine.write('/etc/openbao-kms/config.yaml', stringify(config(bao.address)), 0o640, 'openbao-kms');
  // A stand-in for kubelet that can only start when the socket is there, and a short watchdog.
  machine.write(
    '/etc/systemd/system/kubelet.service',
    '[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/bin/test -S /run/openbao-kms/kms.sock\n[Install]\nWantedBy=multi-user.target\n',
  );
  machine.write(`/etc/systemd/system/${unit}.d/test.conf`, '[Service]\nWatchdogSec=6s\n');
  machine.write('/etc/systemd/system/multi-user.target.d/test.conf', '[Unit]\nWants=kubelet.service\n');
  return { machine, bao, issuer, authority };
}

/** The configuration of the default instance, or of one with a name. */
export function config(address: string, instance = ''): Record<string, unknown> {
  const below = instance === '' ? '' : `/${instance}`;
  const { mountPath, keyName, authPath, role } = defaultInstallation;
  return {
    configVersion: 'v1alpha1',
    server: {
      socketPath: `/run/openbao-kms${below}/kms.sock`,
      socketMode: '0660',
      socketGroup: 'openbao-kms-socket',
      metricsAddress: '127.0.0.1:0',
      healthAddress: '127.0.0.1:0',
    },
    openbao: { address, caCertFile: '/etc/openbao-kms/tls/ca.crt', tlsServerName: 'localhost', instanceId: 'bao-test' },
    auth: {
      method: 'jwt',
      jwt: {
        source: 'file',
        mountPath: authPath,
        role,
        jwtFile: `/var/lib/openbao-kms${below}/credentials/identity.jwt`,
      },
    },
    transit: {
      mountPath,
      keyName,
      keyIdScope: { providerName: 'p', clusterId: 'c', transitMountId: 'm', keyLineageId: 'l' },
    },
    bootstrap: { graceTimeout: '5s', retryInterval: '500ms' },
    status: { probeInterval: '1s', deepProbeInterval: '5s', statusMaxStaleness: '5s' },
    state: { path: `/var/lib/openbao-kms${below}/state/key-registry.json` },
    process: { pluginUser: 'openbao-kms-plugin' },
  };
}

/** Tests in one machine, each building on the one before; and the last one, which takes the machine away. */
export function createSteps(release: Release) {
  let opening: Promise<World> | undefined;
  let world: World | undefined;
  const step = (title: string, run: (world: World) => Promise<void>) =>
    test(title, async () => {
      if (skipWithout(missing === undefined, `systemd (${release}): ${title}`, missing ?? '')) return;
      opening ??= openWorld(release);
      try {
        world = await opening;
      } catch (error) {
        if (!(error instanceof NoMachine)) throw error;
        skipWithout(false, `systemd (${release}): ${title}`, error.message);
        return;
      }
      try {
        await run(world);
      } catch (error) {
        process.stdout.write(`${title}\n${(error as Error).message}\n${await lastWords(world.machine)}\n`);
        throw error;
      }
    });
  const end = () =>
    test('the machine is taken away', async () => {
      await world?.machine.remove();
      await world?.bao.close();
    });
  return { step, end };
}

async function lastWords(machine: Machine): Promise<string> {
  const lines = (await journal(machine)).split('\n').slice(-40);
  return `STATUS ${await status(machine)} ${await property(machine, 'ActiveState')}\n${lines.join('\n')}`;
}

/** What a shell line prints inside the machine. */
export const said = async (machine: Machine, line: string) => (await machine.run(line)).output.trim();
export const property = (machine: Machine, name: string) => said(machine, `systemctl show -p ${name} --value ${unit}`);
export const status = (machine: Machine) => property(machine, 'StatusText');
export const mainPid = async (machine: Machine) => Number(await property(machine, 'MainPID'));
export const pluginPid = async (machine: Machine) =>
  Number(await said(machine, `pgrep -P ${await mainPid(machine)} -u openbao-kms-plugin`));
export const isAnother = (pid: number, before: number) => pid > 0 && pid !== before;
export const journal = (machine: Machine) => said(machine, `journalctl -u ${unit} -o cat --no-pager`);
const messages = (text: string, name: string) => text.split(`"message":"${name}"`).length - 1;
export const isHealthy = async (machine: Machine) =>
  /^healthy; .*key \S{12} v1; plugin \d+; relaunches \d+; /u.test(await status(machine));

/** What systemd-analyze thinks, 0 to 10. */
export async function exposure(machine: Machine): Promise<number> {
  const { output } = await machine.run(`systemd-analyze security ${unit} --no-pager`);
  return Number(/level for \S+: ([0-9.]+)/u.exec(output)?.[1] ?? 10);
}

/** On every systemd the same. */
export function reloadStep(step: ReturnType<typeof createSteps>['step']): void {
  step('three times systemctl reload: one replacement each, done when the command ends', async ({ machine }) => {
    const supervisor = await mainPid(machine);
    for (let round = 0; round < 3; round += 1) {
      const [plugin, before] = [await pluginPid(machine), await journal(machine)];
      const since = async (name: string) => messages(await journal(machine), name) - messages(before, name);
      assert.is((await machine.run(`systemctl reload ${unit}`)).status, 0);
      await machine.run('journalctl --sync');
      assert.is(await since('reload.done'), 1);
      await until(
        async () => isAnother(await pluginPid(machine), plugin) && (await isHealthy(machine)),
        'the new plugin alone',
      );
      assert.is(await since('plugin.started'), 1);
    }
    assert.is(await mainPid(machine), supervisor);
  });
}

const directories = 'systemd-tmpfiles --create openbao-kms.conf';
/** Two looks at directories, a drain and a start. */
const anewMs = 40_000;
const credentials = '/var/lib/openbao-kms/credentials';

/** The service ended with 6, was started anew, and clients that come by the name are served. */
async function isBackAnew(machine: Machine, supervisor: number, reason: string): Promise<void> {
  await until(
    async () => isAnother(await mainPid(machine), supervisor) && (await isHealthy(machine)),
    'a new start that finds the directory',
    anewMs,
  );
  const text = await journal(machine);
  assert.match(text, new RegExp(`"reason":"${reason}","[^\n]*"message":"serve.departing"`, 'u'));
  assert.match(text, /"exit_code":6,/u);
  const client = createKmsClient(machine.inside('/run/openbao-kms/kms.sock'));
  assert.is((await client.status()).healthz, 'ok');
  client.close();
}

/** Healthy, and as if no process before had ended for a directory. */
async function afresh(machine: Machine): Promise<number> {
  const marks = '/var/lib/openbao-kms/state/.*.departed /run/openbao-kms/.*.departed';
  await machine.run(`systemctl stop ${unit}; rm -f ${marks}; systemctl start ${unit}`);
  await until(() => isHealthy(machine), 'healthy', 30_000);
  return mainPid(machine);
}

/** Directories that the unit's own view goes on showing. */
export function lostDirectorySteps(step: ReturnType<typeof createSteps>['step']): void {
  step('a runtime directory that is removed and made anew is found by a new start, by itself', async ({ machine }) => {
    const supervisor = await afresh(machine);
    await machine.run(`rm -rf /run/openbao-kms; ${directories}`);
    await isBackAnew(machine, supervisor, 'runtime_directory_gone');
  });

  step(
    'the same within ten minutes is told and waits; a directory mounted at the path is taken',
    async ({ machine }) => {
      const supervisor = await mainPid(machine);
      await machine.run(`rm -rf /run/openbao-kms; ${directories}`);
      await until(async () => /"message":"serve.departure_postponed"/u.test(await journal(machine)), 'said', anewMs);
      await until(async () => /runtime_directory_gone/u.test(await status(machine)), 'the reason in the status line');
      assert.is(await mainPid(machine), supervisor);
      await machine.run(`systemctl restart ${unit}`);
      await until(() => isHealthy(machine), 'healthy after a restart by hand', 30_000);
      const plugin = await pluginPid(machine);
      const ids = '$(id -u openbao-kms),gid=$(getent group openbao-kms-socket | cut -d: -f3)';
      await machine.run(`mount -t tmpfs -o mode=2750,uid=${ids} tmpfs /run/openbao-kms`);
      await until(
        async () => isAnother(await pluginPid(machine), plugin) && (await isHealthy(machine)),
        'repair',
        anewMs,
      );
      assert.match(
        await said(machine, 'ls -l /run/openbao-kms/kms.sock'),
        /^srw-rw---- 1 openbao-kms openbao-kms-socket/u,
      );
      await machine.run(`systemctl stop ${unit}; umount /run/openbao-kms; systemctl start ${unit}`);
      await until(() => isHealthy(machine), 'healthy without the mount', 30_000);
    },
  );

  step('a runtime directory that is not made anew: starts are tried until it is', async ({ machine }) => {
    const supervisor = await afresh(machine);
    await machine.run('rm -rf /run/openbao-kms');
    await until(
      async () => /^start refused: gate.runtime_directory \(directory_unsafe\): /u.test(await status(machine)),
      'the refusal in the status line',
      anewMs,
    );
    await machine.run(directories);
    await isBackAnew(machine, supervisor, 'runtime_directory_gone');
  });

  step(
    'a credentials directory replaced on the host: the one in use serves on, a restart reads the new one',
    async ({ machine, issuer }) => {
      const supervisor = await mainPid(machine);
      machine.write('/root/next', issuer.issue({ jti: 'replaced' }), 0o640, 'openbao-kms');
      const make = `mv ${credentials} ${credentials}-away; ${directories}; cp -p /root/next ${credentials}/identity.jwt`;
      await machine.run(make);
      const said = async () => /"name":"credentials","[^\n]*"message":"directory.gone"/u.test(await journal(machine));
      await until(said, 'the loss in the log', anewMs);
      assert.is(await mainPid(machine), supervisor);
      assert.ok(await isHealthy(machine));
      await machine.run(`systemctl restart ${unit}`);
      await until(() => isHealthy(machine), 'healthy with the new one', 30_000);
    },
  );

  step(
    'a credentials directory replaced on the host is found by a new start when none is in use',
    async ({ machine, issuer }) => {
      await afresh(machine);
      machine.write('/root/bad', 'not.a.jwt', 0o640, 'openbao-kms');
      await machine.run(`cp -p /root/bad ${credentials}/identity.jwt; systemctl restart ${unit}`);
      const supervisor = await mainPid(machine);
      machine.write('/root/next', issuer.issue({ jti: 'found' }), 0o640, 'openbao-kms');
      await machine.run(`rm -rf ${credentials}; ${directories}; cp -p /root/next ${credentials}/identity.jwt`);
      await isBackAnew(machine, supervisor, 'credentials_directory_gone');
    },
  );

  step('a state directory replaced on the host: nothing until a save is due, then a new start', async ({ machine }) => {
    const supervisor = await mainPid(machine);
    const state = '/var/lib/openbao-kms/state';
    await machine.run(`cp -a ${state} ${state}-copy; rm -rf ${state}; mv ${state}-copy ${state}`);
    await until(
      async () => /"name":"state","[^\n]*"message":"directory.gone"/u.test(await journal(machine)),
      'the loss in the log',
      anewMs,
    );
    assert.is(await mainPid(machine), supervisor);
    // A relaunch needs the state as a save does; without a plugin there is no service that ten minutes would protect.
    await machine.run(`kill -9 ${await pluginPid(machine)}`);
    await isBackAnew(machine, supervisor, 'state_directory_gone');
  });
}

/** On every systemd the same: what refuses a start stands in `systemctl status`, also between two of its tries. */
export function refusedStartStep(step: ReturnType<typeof createSteps>['step']): void {
  step('a refused start shows check, reason and hint in systemctl status, and is no loop', async ({ machine }) => {
    const ca = '/etc/openbao-kms/tls/ca.crt';
    await machine.run(`cp -p ${ca} /root/ca`);
    machine.write(ca, '');
    try {
      await machine.run(`systemctl restart --no-block ${unit}`);
      await isRefusalShown(machine);
    } finally {
      await machine.run(`cp -p /root/ca ${ca}; systemctl restart ${unit}`);
    }
    await until(() => isHealthy(machine), 'healthy with the CA', 30_000);
  });
}

async function isRefusalShown(machine: Machine): Promise<void> {
  const shows = /Status: "start refused: gate.credentials \(ca_invalid\): openbao.caCertFile: is empty; install/u;
  const isShown = async () => shows.test(await said(machine, `systemctl status --no-pager ${unit}`));
  const starts = async () => Number(await property(machine, 'NRestarts'));
  await until(isShown, 'the refusal', 30_000);
  const before = await starts();
  const looks: boolean[] = [];
  while ((await starts()) < before + 2) {
    looks.push(await isShown());
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  const shown = looks.filter((one) => one).length;
  process.stdout.write(`a refused start: shown in ${shown} of ${looks.length} looks over two starts\n`);
  assert.ok(shown > looks.length / 2, `shown in ${shown} of ${looks.length} looks`);
}
