// The shipped unit on a booted systemd: start, order, status, confinement, crash, hang, watchdog, credentials, reload, OpenBao
// absent, refusals, stop, reboot. One machine; its steps build on each other.

import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { stringify } from 'yaml';
import { createExchangeableDistribution } from '../support/hostile-distribution.ts';
import { until } from '../support/installation.ts';
import { createJwtIssuer, issuerDefaults } from '../support/jwt-issuer.ts';
import { createKmsClient } from '../support/kms-client.ts';
import { startLoad } from '../support/load.ts';
import { createMachine, type Machine, missingForMachine, NoMachine } from '../support/machine.ts';
import { createAdmin, defaultInstallation, provision } from '../support/openbao/provision.ts';
import { type DevelopmentServer, startDevelopmentServer } from '../support/openbao/server.ts';
import { type Authority, createAuthority, createLeaf } from '../support/pki.ts';
import { skipWithout } from '../support/skip.ts';
import { root } from '../support/workplace.ts';

const missing = missingForMachine();
const unit = 'bao-kms-provider.service';

type World = {
  readonly machine: Machine;
  readonly bao: DevelopmentServer;
  readonly issuer: ReturnType<typeof createJwtIssuer>;
  readonly authority: Authority;
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
  return { machine, bao, issuer, authority };
}

function config(address: string, instance = ''): Record<string, unknown> {
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

/** What docs/operations.md tells an operator to put into /etc/tmpfiles.d. */
function instanceDirectories(name: string): string {
  const text = readFileSync(join(root, 'docs/operations.md'), 'utf8');
  const [, lines = ''] = /```text\n(d \/etc\/openbao-kms\/NAME[\s\S]*?)```/u.exec(text) ?? [];
  return lines.replaceAll('NAME', name);
}

function step(title: string, run: (world: World) => Promise<void>): void {
  test(title, async () => {
    if (skipWithout(missing === undefined, `systemd: ${title}`, missing ?? '')) return;
    opening ??= openWorld();
    try {
      world = await opening;
    } catch (error) {
      if (!(error instanceof NoMachine)) throw error;
      skipWithout(false, `systemd: ${title}`, error.message);
      return;
    }
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

/** What systemd-analyze thinks, 0 to 10. */
function exposure(machine: Machine): number {
  const { output } = machine.run(`systemd-analyze security ${unit} --no-pager`);
  return Number(/level for \S+: ([0-9.]+)/u.exec(output)?.[1] ?? 10);
}

step('systemd-analyze security: at most 2.4', async ({ machine }) => {
  process.stdout.write(`two users: ${exposure(machine)}\n`);
  assert.ok(exposure(machine) <= 2.4);
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

step(
  'a new CA, and a new certificate of the server, come into use without a restart',
  async ({ machine, bao, authority }) => {
    const plugin = pluginPid(machine);
    const next = await createAuthority('the next CA');
    const install = (pem: string) => {
      machine.write('/etc/openbao-kms/tls/next', pem);
      machine.run('mv /etc/openbao-kms/tls/next /etc/openbao-kms/tls/ca.crt');
    };
    const isInUse = (generation: number) =>
      new RegExp(`"name":"openbao_ca","generation":${generation},"message":"credential.in_use"`, 'u').test(
        journal(machine),
      );
    install(`${authority.pem}${next.pem}`);
    await until(() => isInUse(2), 'both', 25_000);
    bao.useLeaf(await createLeaf(next));
    install(next.pem);
    await until(() => isInUse(3), 'the next one alone', 25_000);
    assert.is(pluginPid(machine), plugin);
    assert.ok(isHealthy(machine));
  },
);

step('status line, /ready and metrics say the same within a second of the last change', async ({ machine, bao }) => {
  const started =
    journal(machine)
      .match(/"metrics_address":"[^"]+","health_address":"[^"]+"/gu)
      ?.at(-1) ?? '';
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
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    const line = status(machine);
    assert.is((await ready())['healthz'], healthz);
    assert.match(
      await (await fetch(`http://${metrics}/metrics`)).text(),
      new RegExp(`status_healthy ${isDisabled ? 1 : 0}\n`, 'u'),
    );
    assert.match(line, isDisabled ? /^healthy; / : /^unhealthy: upsert_allowed/u);
  }
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

const client = (machine: Machine) => createKmsClient(machine.inside('/run/openbao-kms/kms.sock'));

step('systemctl restart under a load of Decrypts: not one call fails', async ({ machine }) => {
  const kms = client(machine);
  const load = await startLoad(kms, { inFlight: 8, methods: ['decrypt'], pauseMs: 5 });
  const supervisor = mainPid(machine);
  for (let round = 0; round < 3; round += 1) {
    const before = load.served();
    assert.is((await machine.runMeanwhile(`systemctl restart ${unit}`)).status, 0);
    await until(() => load.served() > before + 100, 'calls after the restart');
  }
  assert.equal(await load.stop(), []);
  assert.is.not(mainPid(machine), supervisor);
  kms.close();
});

step('systemctl stop while calls run: none is cut, and no socket is left', async ({ machine, bao }) => {
  const kms = client(machine);
  const sealed = await kms.encrypt(randomBytes(32));
  bao.fault = async ({ path }) => {
    if (path.includes('/decrypt/')) await new Promise((resolve) => setTimeout(resolve, 1_000));
    return undefined;
  };
  const running = Array.from({ length: 16 }, (_, index) =>
    kms.decrypt(
      { ...sealed, annotations: new Map([...sealed.annotations, [`a${index}.example.org`, Buffer.from('x')]]) },
      'u',
      10_000,
    ),
  );
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.is((await machine.runMeanwhile(`systemctl stop ${unit}`)).status, 0);
  bao.fault = undefined;
  const answers = await Promise.allSettled(running);
  assert.ok(answers.every(({ status: outcome }) => outcome === 'fulfilled'));
  assert.match(machine.run('ls /run/openbao-kms/kms.sock').output, /No such file/u);
  kms.close();
  assert.is((await machine.runMeanwhile(`systemctl start ${unit}`)).status, 0);
  await until(() => isHealthy(machine), 'service after the stop', 30_000);
});

step('an instance serves a second key beside the first, with files of its own', async ({ machine, bao, issuer }) => {
  const instance = 'bao-kms-provider@second.service';
  machine.write('/etc/openbao-kms/second/config.yaml', stringify(config(bao.address, 'second')), 0o640, 'openbao-kms');
  machine.write('/var/lib/openbao-kms/second/credentials/identity.jwt', issuer.issue(), 0o640, 'openbao-kms');
  machine.write('/etc/tmpfiles.d/openbao-kms-second.conf', instanceDirectories('second'));
  assert.is(machine.run('systemd-tmpfiles --create openbao-kms-second.conf').status, 0);
  const { status: code, output } = await machine.runMeanwhile(`systemctl start ${instance}`);
  assert.is(code, 0, output);
  const second = createKmsClient(machine.inside('/run/openbao-kms/second/kms.sock'));
  assert.is((await second.status()).healthz, 'ok');
  second.close();
  await until(
    () => /^healthy; key /u.test(machine.run(`systemctl show -p StatusText --value ${instance}`).output),
    'its status line',
  );
  const pid = machine.run(`systemctl show -p MainPID --value ${instance}`).output.trim();
  const sees = machine.run(`nsenter -t ${pid} -m -- ls /run/openbao-kms /var/lib/openbao-kms /etc/openbao-kms`).output;
  assert.not.match(sees, /kms\.sock$|credentials$|config\.yaml$/mu, 'nothing of the first instance in its view');
  assert.ok(isHealthy(machine), 'the first one serves on');
  assert.is(machine.run(`systemctl stop ${instance}`).status, 0);
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
  const state = machine.run(`cat ${paths.state} ${paths.state}.checkpoint`).output;
  await hostile.turnHostile('native', paths);
  hostile.dropPermissionModel();
  copy(`${hostile.directory}/lib`);
  machine.run(`systemctl restart --no-block ${unit}`);
  const trials = () => [...journal(machine).matchAll(/"message":"hostile","name":"([^"]+)","outcome":"([^"]+)"/gu)];
  await until(() => trials().some(([, name]) => name === 'done'), 'the trials', 30_000);
  copy(join(root, 'dist/lib'));
  hostile.remove();
  assert.ok(trials().length >= 15);
  assert.equal(
    trials().flatMap(([, name, outcome]) => (outcome === 'SUCCEEDED' ? [name] : [])),
    [],
  );
  assert.is(machine.run(`cat ${paths.state} ${paths.state}.checkpoint`).output, state);
  await machine.runMeanwhile(`systemctl restart ${unit}`);
  await until(() => isHealthy(machine), 'a good plugin again', 40_000);
});

step(
  'one user: exposure at most 1.6, no capability anywhere, and log and status line say same-user',
  async ({ machine, bao }) => {
    const dropIn = `/etc/systemd/system/${unit}.d/same-user.conf`;
    machine.write(dropIn, readFileSync(join(root, 'deploy/systemd/same-user.conf'), 'utf8'));
    const path = '/etc/openbao-kms/config.yaml';
    machine.write(path, stringify({ ...config(bao.address), process: undefined }), 0o640, 'openbao-kms');
    assert.is((await machine.runMeanwhile(`systemctl daemon-reload && systemctl restart ${unit}`)).status, 0);
    await until(() => /^healthy; .*privilege same-user/u.test(status(machine)), 'the status line');
    const alone = exposure(machine);
    // What docs/hardening.md asks every operator to add; here OpenBao is on loopback.
    const network = `/etc/systemd/system/${unit}.d/network.conf`;
    machine.write(network, '[Service]\nIPAddressDeny=any\nIPAddressAllow=localhost\n');
    assert.is((await machine.runMeanwhile(`systemctl daemon-reload && systemctl restart ${unit}`)).status, 0);
    await until(() => /^healthy; /u.test(status(machine)), 'service behind the address filter');
    process.stdout.write(`one user: ${alone}, with the address filter ${exposure(machine)}\n`);
    assert.ok(exposure(machine) <= 1.6);
    const capabilities = machine.run(`grep -h Cap /proc/${mainPid(machine)}/status`).output;
    assert.match(capabilities, /^(?:Cap\w+:\t0+\n)+$/u);
    assert.match(journal(machine), /"privilege":"same-user"/u);
    machine.write(path, stringify(config(bao.address)), 0o640, 'openbao-kms');
    await machine.runMeanwhile(`rm ${dropIn} ${network}; systemctl daemon-reload; systemctl restart ${unit}`);
    await until(() => isHealthy(machine), 'two users again', 30_000);
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
