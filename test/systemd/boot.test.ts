// The shipped unit on a booted systemd: start, order, status, confinement, crash, hang, watchdog, credentials, reload, OpenBao
// absent, refusals, stop, reboot. One machine; its steps build on each other.

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { stringify } from 'yaml';
import { until } from '../support/installation.ts';
import { createJwtIssuer, issuerDefaults } from '../support/jwt-issuer.ts';
import { createMachine, type Machine, missingForMachine } from '../support/machine.ts';
import { createAdmin, defaultInstallation, provision } from '../support/openbao/provision.ts';
import { type DevelopmentServer, startDevelopmentServer } from '../support/openbao/server.ts';
import { createAuthority, createLeaf } from '../support/pki.ts';
import { skipWithout } from '../support/skip.ts';

const missing = missingForMachine();
const unit = 'bao-kms-provider.service';

type World = {
  readonly machine: Machine;
  readonly bao: DevelopmentServer;
  readonly issuer: ReturnType<typeof createJwtIssuer>;
};
let opening: Promise<World> | undefined;
let world: World | undefined;

async function openWorld(): Promise<World> {
  const authority = await createAuthority();
  const bao = await startDevelopmentServer({ leaf: await createLeaf(authority) });
  const issuer = createJwtIssuer();
  const admin = createAdmin({ address: bao.address, token: bao.rootToken, ca: authority.pem });
  await provision(admin, defaultInstallation, { publicKeyPem: issuer.publicKeyPem, ...issuerDefaults });
  await admin.close();
  const machine = createMachine();
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
  return { machine, bao, issuer };
}

function config(address: string): unknown {
  const { mountPath, keyName, authPath, role } = defaultInstallation;
  return {
    configVersion: 'v1alpha1',
    server: {
      socketPath: '/run/openbao-kms/kms.sock',
      socketMode: '0660',
      socketGroup: 'openbao-kms-socket',
      metricsAddress: '127.0.0.1:0',
      healthAddress: '127.0.0.1:0',
    },
    openbao: { address, caCertFile: '/etc/openbao-kms/tls/ca.crt', tlsServerName: 'localhost', instanceId: 'bao-test' },
    auth: {
      method: 'jwt',
      jwt: { source: 'file', mountPath: authPath, role, jwtFile: '/var/lib/openbao-kms/credentials/identity.jwt' },
    },
    transit: {
      mountPath,
      keyName,
      keyIdScope: { providerName: 'p', clusterId: 'c', transitMountId: 'm', keyLineageId: 'l' },
    },
    bootstrap: { graceTimeout: '5s', retryInterval: '500ms' },
    status: { probeInterval: '1s', deepProbeInterval: '5s', statusMaxStaleness: '5s' },
    process: { pluginUser: 'openbao-kms-plugin' },
  };
}

function step(title: string, run: (world: World) => Promise<void>): void {
  test(title, async () => {
    if (skipWithout(missing === undefined, `systemd: ${title}`, missing ?? '')) return;
    opening ??= openWorld();
    world = await opening;
    try {
      await run(world);
    } catch (error) {
      process.stdout.write(
        `${title}\n${(error as Error).message}\nSTATUS ${status(world.machine)} ${property(world.machine, 'ActiveState')}\n${journal(world.machine).split('\n').slice(-12).join('\n')}\n`,
      );
      throw error;
    }
  });
}

const property = ({ run }: Machine, name: string) => run(`systemctl show -p ${name} --value ${unit}`).output.trim();
const status = (machine: Machine) => property(machine, 'StatusText');
const mainPid = (machine: Machine) => Number(property(machine, 'MainPID'));
const pluginPid = (machine: Machine) =>
  Number(machine.run(`pgrep -P ${mainPid(machine)} -u openbao-kms-plugin`).output.trim());
const journal = ({ run }: Machine) => run(`journalctl -u ${unit} -o cat --no-pager`).output;
const isHealthy = (machine: Machine) => /^healthy; key \S{12} v1; plugin \d+; relaunches \d+; /u.test(status(machine));

step('boots, is healthy, kubelet comes after the socket, and the status line says so', async ({ machine }) => {
  await machine.boot();
  await until(() => isHealthy(machine), 'a healthy status line', 30_000);
  assert.is(property(machine, 'ActiveState'), 'active');
  assert.is(machine.run('systemctl is-active kubelet').output.trim(), 'active');
  assert.match(machine.run('ls -l /run/openbao-kms/kms.sock').output, /^srw-rw---- 1 openbao-kms openbao-kms-socket/u);
});

step('both users: four capabilities for the supervisor, nothing at all for the plugin', async ({ machine }) => {
  const supervisor = machine.run(`cat /proc/${mainPid(machine)}/status`).output;
  assert.match(supervisor, /^CapEff:\t00000000000001e0$/mu);
  const plugin = machine.run(`cat /proc/${pluginPid(machine)}/status`).output;
  for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
    assert.match(plugin, new RegExp(`^${set}:\\t0+$`, 'mu'));
  assert.match(plugin, /^NoNewPrivs:\t1$/mu);
  assert.match(plugin, /^Seccomp:\t2$/mu);
  assert.match(plugin, /^Groups:\t\s*$/mu);
});

step('systemd-analyze security: at most 2.4', async ({ machine }) => {
  const { output } = machine.run(`systemd-analyze security ${unit} --no-pager`);
  process.stdout.write(`${output.trim().split('\n').at(-1)}\n`);
  assert.ok(Number(/level for \S+: ([0-9.]+)/u.exec(output)?.[1]) <= 2.4, output);
});

step(
  'in the unit’s view uid 0 finds no secrets of the host and nothing to write but the way to systemd',
  async ({ machine }) => {
    const drop = 'setpriv --bounding-set=-all,+setuid,+setgid,+setpcap,+kill --inh-caps=-all --no-new-privs';
    const inside = (line: string) =>
      machine.run(`nsenter -t ${mainPid(machine)} -m -- ${drop} sh -c '${line}'`).output.trim();
    assert.is(inside('find / -xdev -writable -not -path "/proc/*" 2>/dev/null'), '/run/systemd/notify');
    for (const path of ['/etc/shadow', '/etc/gshadow', '/root', '/home', '/etc/ssh', '/var/log', '/etc/kubernetes']) {
      assert.match(inside(`ls ${path}`), /No such file/u, path);
    }
  },
);

step('a killed plugin is relaunched by the supervisor, which stays', async ({ machine }) => {
  const [supervisor, plugin] = [mainPid(machine), pluginPid(machine)];
  machine.run(`kill -9 ${plugin}`);
  await until(() => pluginPid(machine) > 0 && pluginPid(machine) !== plugin && isHealthy(machine), 'a new plugin');
  assert.is(mainPid(machine), supervisor);
  await until(() => /relaunches 1/u.test(status(machine)), 'the relaunch in the status line');
});

step('a plugin whose loop is blocked is replaced after ten seconds', async ({ machine }) => {
  const plugin = pluginPid(machine);
  machine.run(`kill -STOP ${plugin}`);
  await until(
    () => pluginPid(machine) > 0 && pluginPid(machine) !== plugin && isHealthy(machine),
    'a new plugin',
    30_000,
  );
});

step('a new JWT comes into use without a restart', async ({ machine, issuer }) => {
  const plugin = pluginPid(machine);
  machine.write('/var/lib/openbao-kms/credentials/next', issuer.issue({ jti: 'two' }), 0o640, 'openbao-kms');
  machine.run('mv /var/lib/openbao-kms/credentials/next /var/lib/openbao-kms/credentials/identity.jwt');
  await until(
    () => /"name":"jwt","generation":2,"message":"credential.in_use"/u.test(journal(machine)),
    'the new generation',
    25_000,
  );
  assert.is(pluginPid(machine), plugin);
});

step('systemctl reload replaces the plugin and ends when it is done', async ({ machine }) => {
  const [supervisor, plugin] = [mainPid(machine), pluginPid(machine)];
  assert.is(machine.run(`systemctl reload ${unit}`).status, 0);
  await until(() => /"message":"reload.done"/u.test(journal(machine)) && isHealthy(machine), 'the replacement', 30_000);
  assert.is(mainPid(machine), supervisor);
  assert.is.not(pluginPid(machine), plugin);
});

step('a supervisor whose loop is blocked is restarted by the watchdog', async ({ machine }) => {
  const supervisor = mainPid(machine);
  machine.run(`kill -STOP ${supervisor}`);
  await until(
    () => mainPid(machine) > 0 && mainPid(machine) !== supervisor && isHealthy(machine),
    'a new supervisor',
    40_000,
  );
});

step(
  'OpenBao absent at a restart: active as degraded after the grace, healthy when it arrives',
  async ({ machine, bao }) => {
    bao.fault = () => 'close';
    machine.run(`systemctl restart ${unit}`);
    assert.is(property(machine, 'ActiveState'), 'active');
    assert.match(status(machine), /^unhealthy: /u);
    bao.fault = undefined;
    await until(() => isHealthy(machine), 'healthy again', 60_000);
  },
);

step('a runtime directory with a wrong mode: the start is refused and the journal says why', async ({ machine }) => {
  machine.run(`systemctl stop ${unit}`);
  assert.match(machine.run('ls /run/openbao-kms/kms.sock').output, /No such file/u, 'a clean stop leaves no socket');
  machine.run(`chmod g+w /run/openbao-kms; systemctl start --no-block ${unit}; sleep 2`);
  assert.is.not(property(machine, 'ActiveState'), 'active');
  assert.match(journal(machine), /"reason":"directory_unsafe","check":"gate.runtime_directory"/u);
  machine.run('chmod g-w /run/openbao-kms');
  await until(() => isHealthy(machine), 'service after the repair', 30_000);
});

step('after a reboot everything is there again', async ({ machine }) => {
  await machine.powerOff();
  await machine.boot();
  await until(() => isHealthy(machine), 'healthy after the reboot', 30_000);
});

test('the machine is taken away', async () => {
  await world?.machine.remove();
  await world?.bao.close();
});

test.run();
