// The shipped unit in a booted machine of a Debian release, an OpenBao in this process, and the questions that its tests ask.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { stringify } from 'yaml';
import { until } from './installation.ts';
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
  /^healthy; key \S{12} v1; plugin \d+; relaunches \d+; /u.test(await status(machine));

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
