// The gate, from outside: each refusal is one line, its exit code, and nothing changed. And the drop, as /proc shows it.

import { execFileSync, spawn } from 'node:child_process';
import { existsSync, readFileSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { install, withInstallation } from '../support/installation.ts';
import { createKmsClient } from '../support/kms-client.ts';
import { startProvider, untilHealthy } from '../support/provider.ts';
import { skipWithout } from '../support/skip.ts';

const isRoot = process.geteuid?.() === 0;

type Refusal = {
  readonly what: string;
  readonly check: string;
  readonly exitCode: number;
  readonly break: (workplace: {
    configPath: string;
    jwtPath: string;
    statePath: string;
    socketPath: string;
    directory: string;
    caPath: string;
    uid: number;
  }) => void;
};

const refusals: readonly Refusal[] = [
  {
    what: 'a configuration that others may read',
    check: 'gate.config',
    exitCode: 3,
    break: ({ configPath }) => execFileSync('chmod', ['0644', configPath]),
  },
  {
    what: 'a configuration with a mistake',
    check: 'gate.config',
    exitCode: 3,
    break: ({ configPath }) => writeFileSync(configPath, 'configVersion: v2\n'),
  },
  { what: 'a missing JWT', check: 'gate.credentials', exitCode: 3, break: ({ jwtPath }) => unlinkSync(jwtPath) },
  {
    what: 'a JWT that others may read',
    check: 'gate.credentials',
    exitCode: 3,
    break: ({ jwtPath }) => execFileSync('chmod', ['0644', jwtPath]),
  },
  {
    what: 'a CA that the group may write',
    check: 'gate.credentials',
    exitCode: 3,
    break: ({ caPath }) => execFileSync('chmod', ['0664', caPath]),
  },
  {
    what: 'a runtime directory that the group may write',
    check: 'gate.runtime_directory',
    exitCode: 5,
    break: ({ directory }) => execFileSync('chmod', ['0770', `${directory}/run`]),
  },
  {
    what: 'a missing state directory',
    check: 'gate.lock',
    exitCode: 5,
    break: ({ directory }) => execFileSync('rm', ['-r', `${directory}/state`]),
  },
  {
    what: 'a corrupt state',
    check: 'gate.state',
    exitCode: 5,
    break: ({ statePath, uid }) => {
      writeFileSync(statePath, '{}', { mode: 0o640 });
      if (isRoot) execFileSync('chown', [String(uid), statePath]);
    },
  },
  {
    what: 'a file where the socket goes',
    check: 'gate.socket',
    exitCode: 5,
    break: ({ socketPath }) => writeFileSync(socketPath, 'mine'),
  },
  {
    what: 'a link where the socket goes',
    check: 'gate.socket',
    exitCode: 5,
    break: ({ socketPath }) => symlinkSync('/dev/null', socketPath),
  },
];

for (const { what, check, exitCode, break: breakIt } of refusals) {
  test(`${what}: refused by ${check} with exit ${exitCode}, one line, nothing changed`, () =>
    withInstallation(async ({ start, workplace }) => {
      breakIt(workplace);
      const before = execFileSync(
        'find',
        [workplace.directory, '-not', '-name', '*.lock', '-not', '-path', '*/dist*', '-printf', '%p %m %s\n'],
        { encoding: 'utf8' },
      );
      const provider = start();
      assert.is(await provider.exited, exitCode);
      const lines = provider.log.filter(({ message }) => message === 'gate.refused');
      assert.is(lines.length, 1);
      assert.is(lines[0]?.['check'], check);
      const after = execFileSync(
        'find',
        [workplace.directory, '-not', '-name', '*.lock', '-not', '-path', '*/dist*', '-printf', '%p %m %s\n'],
        { encoding: 'utf8' },
      );
      assert.is(after, before);
    }));
}

const der = (pem: string) => Buffer.from(pem.replace(/-----[^-]+-----|\s/gu, ''), 'base64');

for (const [what, finding, contentOf] of [
  ['empty', /: is empty; install/u, () => Buffer.from('\n')],
  ['in DER form', /openssl x509 -inform der/u, der],
  ['damaged', /holds a damaged certificate/u, (pem: string) => Buffer.from(pem.replace(/\nMII/u, '\n!!!'))],
  ['cut off', /holds a damaged certificate/u, (pem: string) => Buffer.from(pem.slice(0, 200))],
  ['a key', /holds no PEM certificate/u, (pem: string) => Buffer.from(pem.replaceAll('CERTIFICATE', 'PUBLIC KEY'))],
] as const) {
  test(`a CA file that is ${what}: refused by gate.credentials with its field and exit 3`, () =>
    withInstallation(async ({ start, workplace }) => {
      writeFileSync(workplace.caPath, contentOf(readFileSync(workplace.caPath, 'utf8')));
      const provider = start();
      assert.is(await provider.exited, 3);
      const [refusal, ...others] = provider.log.filter(({ message }) => message === 'gate.refused');
      assert.equal(others, []);
      assert.equal(
        [refusal?.['check'], refusal?.['field'], refusal?.['reason']],
        ['gate.credentials', 'openbao.caCertFile', 'ca_invalid'],
      );
      assert.match(String(refusal?.['hint']), finding);
      assert.not.ok(existsSync(workplace.socketPath));
    }));
}

test('an address that this host does not have: exit 5 and no socket', () =>
  withInstallation(async ({ workplace }) => {
    const provider = startProvider(workplace, ['--metrics-address', '192.0.2.1:9090']);
    assert.is(await provider.exited, 5);
    assert.not.ok(existsSync(workplace.socketPath));
    provider.client.close();
  }));

test('with a user of its own the plugin has no ids, groups or capabilities of anybody else', async () => {
  if (skipWithout(isRoot, 'two users', 'root')) return;
  const installed = await install({
    change: (config) => {
      config['process'] = { pluginUser: '64399' };
    },
  });
  const { workplace } = installed;
  try {
    execFileSync('chown', ['-R', '0:0', workplace.directory]);
    execFileSync('chmod', [
      '-R',
      'a+rX',
      '--',
      ...[`${workplace.directory}/dist`].filter(existsSync),
      workplace.directory,
    ]);
    execFileSync('chmod', ['0640', workplace.configPath, workplace.jwtPath]);
    workplace.writeConfig((config) => {
      config['process'] = { pluginUser: '64399' };
    });
    execFileSync('chown', ['0:0', workplace.configPath]);
    const [, ...args] = workplace.command('serve', '--config', workplace.configPath, '--development');
    const program = args.findIndex((word) => word.endsWith('/bao-kms-provider'));
    const child = spawn(args[program] ?? '', args.slice(program + 1), {
      cwd: workplace.directory,
      env: {},
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let text = '';
    child.stderr.on('data', (chunk: Buffer) => {
      text += chunk.toString('utf8');
    });
    const client = createKmsClient(workplace.socketPath);
    try {
      await untilHealthy({ client, text: () => text });
      const pid = /"pid":(\d+),"launch"|"launch":\d+,"pid":(\d+)/u.exec(text);
      const status = readFileSync(`/proc/${pid?.[1] ?? pid?.[2]}/status`, 'utf8');
      assert.match(status, /^Uid:\t64399\t64399\t64399\t64399$/mu);
      assert.match(status, /^Gid:\t64399\t64399\t64399\t64399$/mu);
      assert.match(status, /^Groups:\t\s*$/mu);
      for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
        assert.match(status, new RegExp(`^${set}:\\t0+$`, 'mu'));
      assert.match(status, /^NoNewPrivs:\t1$/mu);
    } finally {
      client.close();
      child.kill('SIGTERM');
      await new Promise((resolve) => child.once('close', resolve));
    }
  } finally {
    await installed.close();
  }
});

test.run();
