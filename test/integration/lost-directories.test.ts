// Directories whose path no longer leads to them: removed, replaced, replaced twice, removed below a mount that still shows
// them. What can be repaired is, service goes on meanwhile, and where a service manager starts it again the provider makes
// room for a new start. The looks come every 10 s, so the scenarios run side by side.

import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Installed, type InstallOptions, install, until, withInstallation } from '../support/installation.ts';
import { createKmsClient } from '../support/kms-client.ts';
import { type Provider, startProvider, untilHealthy } from '../support/provider.ts';
import { skipWithout } from '../support/skip.ts';
import type { Workplace } from '../support/workplace.ts';

const isRoot = process.geteuid?.() === 0;
/** Two looks at directories, and what follows from them. */
const looksMs = 25_000;
/** As a service manager does; nobody listens there. */
const asService = ['env', 'NOTIFY_SOCKET=/nonexistent/notify'];

type Run = (provider: Provider, installed: Installed) => Promise<void>;

async function serving(run: Run, wrap: readonly string[] = [], options: InstallOptions = {}) {
  await withInstallation(async (installed) => {
    const provider = installed.start([], wrap);
    await untilHealthy(provider);
    await run(provider, installed);
  }, options);
}

function makeDirectory({ directory, uid }: Workplace, name: string, mode = 0o750): void {
  mkdirSync(`${directory}/${name}`);
  own(`${directory}/${name}`, uid, mode);
}

function own(path: string, uid: number, mode: number): void {
  execFileSync('chmod', [mode.toString(8), path]);
  if (isRoot) execFileSync('chown', [`${uid}:${uid}`, path]);
}

/** A client that connects anew, by the name. */
async function reachable(socketPath: string): Promise<string> {
  const client = createKmsClient(socketPath);
  try {
    return (await client.status(2_000)).healthz;
  } catch {
    return 'unreachable';
  } finally {
    client.close();
  }
}

const isServedBy = (socketPath: string) =>
  until(async () => (await reachable(socketPath)) === 'ok', 'service by the name', looksMs);
const reasons = async (provider: Provider) => (await provider.ready()).body['reasons'] as readonly string[];
const shutdown = (provider: Provider) => provider.log.find(({ message }) => message === 'serve.shutdown');

/** The JWT in a directory of its own. */
const withCredentials: InstallOptions = {
  change: (config) => {
    const jwt = config['auth']?.['jwt'] as Record<string, unknown>;
    jwt['jwtFile'] = String(jwt['jwtFile']).replace('/etc/', '/creds/');
  },
};

async function servingWithCredentials(run: Run, wrap: readonly string[] = []) {
  const installed = await install(withCredentials);
  try {
    makeDirectory(installed.workplace, 'creds');
    putJwt(installed, 'one');
    const provider = installed.start([], wrap);
    await untilHealthy(provider);
    await run(provider, installed);
  } finally {
    await installed.close();
  }
}

function putJwt({ workplace, issuer }: Installed, jti: string, claims: Record<string, unknown> = {}): void {
  workplace.replaceFile(`${workplace.directory}/creds/identity.jwt`, issuer.issue({ jti, ...claims }));
}

const isInUse = (provider: Provider, generation: number) =>
  provider.line(
    (line) =>
      line.message === 'credential.in_use' && line['name'] === 'jwt' && line['credential_generation'] === generation,
    looksMs,
  );

const scenarios: Record<string, () => Promise<void>> = {
  'a runtime directory that was replaced is pinned, locked and bound anew, and clients find the socket again': () =>
    serving(async (provider, { workplace }) => {
      rmSync(`${workplace.directory}/run`, { recursive: true });
      makeDirectory(workplace, 'run');
      const gone = await provider.event('directory.gone', looksMs);
      assert.equal([gone.level, gone['name'], gone['reason']], ['error', 'runtime', 'replaced']);
      await provider.event('socket.repaired', looksMs);
      await isServedBy(workplace.socketPath);
      await until(async () => (await provider.ready()).status === 200, '/ready');
      assert.equal(await reasons(provider), []);
      assert.match(await provider.metrics(), /openbao_kms_directory_gone\{directory="runtime"\} 0/u);
      assert.is((lstatSync(workplace.socketPath).mode & 0o777).toString(8), '660');
      const second = startProvider(workplace);
      assert.is(await second.exited, 5);
      second.client.close();
      assert.ok(second.log.some((line) => line.message === 'gate.refused' && line['check'] === 'gate.lock'));
      await provider.stop();
      assert.not.ok(existsSync(workplace.socketPath), 'the new name is ours too');
    }),

  'a runtime directory that was moved away with the socket in it: the old name leads to nobody any more': () =>
    serving(async (provider, { workplace }) => {
      renameSync(`${workplace.directory}/run`, `${workplace.directory}/away`);
      makeDirectory(workplace, 'run');
      await provider.event('socket.repaired', looksMs);
      await isServedBy(workplace.socketPath);
      assert.equal(readdirSync(`${workplace.directory}/away`), ['.kms.sock.lock']);
    }),

  'a runtime directory that is replaced twice within a second is found all the same': () =>
    serving(async (provider, { workplace }) => {
      for (let round = 0; round < 2; round += 1) {
        renameSync(`${workplace.directory}/run`, `${workplace.directory}/run-${round}`);
        makeDirectory(workplace, 'run');
        await new Promise((resolve) => setTimeout(resolve, 400));
      }
      await provider.event('socket.repaired', looksMs);
      // And once more in the moment of the repair.
      renameSync(`${workplace.directory}/run`, `${workplace.directory}/run-2`);
      makeDirectory(workplace, 'run');
      await isServedBy(workplace.socketPath);
      assert.is((await provider.client.status()).healthz, 'ok', 'connections there are go on');
    }),

  'a runtime directory that was removed: 503 with its reason, connections go on, and it is back by itself': () =>
    serving(async (provider, { workplace }) => {
      await provider.client.status();
      rmSync(`${workplace.directory}/run`, { recursive: true });
      await provider.event('directory.gone', looksMs);
      await until(async () => (await reasons(provider)).includes('runtime_directory_gone'), 'the reason in /ready');
      assert.is((await provider.ready()).status, 503);
      assert.equal(await reasons(provider), ['runtime_directory_gone']);
      assert.match(await provider.metrics(), /openbao_kms_directory_gone\{directory="runtime"\} 1/u);
      assert.is((await provider.client.encrypt(randomBytes(32))).keyId.length > 0, true);
      makeDirectory(workplace, 'run');
      await isServedBy(workplace.socketPath);
      await until(async () => (await provider.ready()).status === 200, '/ready');
    }),

  'a runtime directory that was replaced by one that others may write is not used, until it is put right': () =>
    serving(async (provider, { workplace }) => {
      renameSync(`${workplace.directory}/run`, `${workplace.directory}/away`);
      makeDirectory(workplace, 'run', 0o770);
      const refused = await provider.event('socket.repair_refused', looksMs);
      assert.equal([refused['check'], refused['reason']], ['gate.runtime_directory', 'directory_unsafe']);
      assert.equal(readdirSync(`${workplace.directory}/run`), [], 'nothing was made in it');
      own(`${workplace.directory}/run`, workplace.uid, 0o750);
      await isServedBy(workplace.socketPath);
    }),

  'under a service manager a runtime directory that is gone ends the provider with 6, and not twice in ten minutes':
    () =>
      serving(async (provider, installed) => {
        const { workplace } = installed;
        const remove = () => rmSync(`${workplace.directory}/run`, { recursive: true });
        remove();
        assert.is(await provider.exited, 6);
        assert.is(shutdown(provider)?.['reason'], 'directory_gone');
        assert.ok(
          provider.log.some(({ message }) => message === 'plugin.drained'),
          'calls in flight were let end',
        );
        makeDirectory(workplace, 'run');
        const second = installed.start([], asService);
        await untilHealthy(second);
        remove();
        const postponed = await second.event('serve.departure_postponed', looksMs);
        assert.is(postponed['reason'], 'runtime_directory_gone');
        const nextTryMs = Number(postponed['next_try_ms']);
        assert.ok(nextTryMs > 400_000 && nextTryMs <= 600_000, String(nextTryMs));
        assert.is((await second.client.status()).healthz, 'ok');
        makeDirectory(workplace, 'run');
        await isServedBy(workplace.socketPath);
      }, asService),

  'a credentials directory that was replaced is read, and watched, by its path': () =>
    servingWithCredentials(async (provider, installed) => {
      const { directory } = installed.workplace;
      for (const [round, jti] of ['two', 'three'].entries()) {
        renameSync(`${directory}/creds`, `${directory}/creds-${round}`);
        makeDirectory(installed.workplace, 'creds');
        putJwt(installed, jti);
        await isInUse(provider, round + 2);
      }
      await provider.event('directory.replaced', looksMs);
      assert.is((await provider.ready()).status, 200);
    }),

  'a credentials directory that was removed: the one in use serves on, also under a service manager, and it is taken again':
    () =>
      servingWithCredentials(async (provider, installed) => {
        const { directory } = installed.workplace;
        rmSync(`${directory}/creds`, { recursive: true });
        const gone = await provider.event('directory.gone', looksMs);
        assert.equal([gone.level, gone['name'], gone['reason']], ['error', 'credentials', 'missing']);
        await until(
          async () => /directory_gone\{directory="credentials"\} 1/u.test(await provider.metrics()),
          'the gauge',
        );
        const { status, body } = await provider.ready();
        const told = (body['warnings'] as { readonly warning: string }[]).map(({ warning }) => warning);
        // The file that is in it is missing, too.
        assert.equal([status, told], [200, ['credential_refused', 'credentials_directory_gone']]);
        makeDirectory(installed.workplace, 'creds');
        putJwt(installed, 'two');
        await isInUse(provider, 2);
        await provider.event('directory.found', looksMs);
        assert.is(provider.child.exitCode, null);
      }, asService),

  'a state directory that is gone: a save that is due fails with that cause, and nobody ends without a service manager':
    () =>
      serving(async (provider, { workplace, engine }) => {
        const encrypted = await provider.client.encrypt(randomBytes(32));
        rmSync(`${workplace.directory}/state`, { recursive: true });
        await provider.event('directory.gone', looksMs);
        assert.is((await provider.ready()).status, 200, 'nothing is to be saved yet');
        engine.handle('write', 'keys/k8s-demo-etcd/rotate', {}, Math.floor(Date.now() / 1000));
        const failed = await provider.event('state.save_failed', looksMs);
        assert.equal([failed.level, failed['finding']], ['error', 'state_directory_gone']);
        await until(async () => (await reasons(provider)).includes('state_save_failed'), 'the reason in /ready');
        assert.is((await provider.client.decrypt(encrypted)).plaintext.length, 32);
        assert.is(provider.child.exitCode, null);
      }),

  'under a service manager a state directory that is gone ends the provider with 6 when a save is due, not before':
    () =>
      serving(async (provider, { workplace, engine }) => {
        renameSync(`${workplace.directory}/state`, `${workplace.directory}/away`);
        makeDirectory(workplace, 'state');
        await provider.event('directory.gone', looksMs);
        await new Promise((resolve) => setTimeout(resolve, 12_000));
        assert.is(provider.child.exitCode, null, 'another look, and still there');
        engine.handle('write', 'keys/k8s-demo-etcd/rotate', {}, Math.floor(Date.now() / 1000));
        assert.is(await provider.exited, 6);
        assert.is(
          provider.log.find(({ message }) => message === 'serve.departing')?.['reason'],
          'state_directory_gone',
        );
        assert.equal(readdirSync(`${workplace.directory}/state`), [], 'nothing was written into the new one');
      }, asService),

  'a plugin that dies while the state directory is gone is not started on an empty state': () =>
    serving(async (provider, { workplace }) => {
      rmSync(`${workplace.directory}/state`, { recursive: true });
      process.kill(provider.pluginPid(), 'SIGKILL');
      const refused = await provider.event('gate.refused', looksMs);
      assert.equal([refused['check'], refused['reason']], ['gate.state', 'directory_unsafe']);
    }),
};

/** As in the unit: the directory is a mount, in a view of its own, of one that the host removes or moves away. */
const inView = (real: string, shown: string) => [
  ...asService,
  'unshare',
  '--mount',
  '--propagation=private',
  'sh',
  '-c',
  `mount --bind ${real} ${shown} && exec "$@"`,
  'sh',
];

type Jwt = { readonly claims: Record<string, unknown>; readonly minRemainingTtl: string };

async function withView(
  name: string,
  run: (provider: Provider, real: string, installed: Installed) => Promise<void>,
  jwt?: Jwt,
) {
  const change: InstallOptions['change'] = (config) => {
    withCredentials.change?.(config);
    if (jwt !== undefined) Object.assign(config['auth']?.['jwt'] ?? {}, { minRemainingTtl: jwt.minRemainingTtl });
  };
  const installed = await install({ change });
  const { workplace } = installed;
  const real = `${workplace.directory}/host`;
  try {
    makeDirectory(workplace, 'creds');
    putJwt(installed, 'one', jwt?.claims);
    makeDirectory(workplace, 'host');
    if (name === 'creds') execFileSync('cp', ['-p', `${workplace.directory}/creds/identity.jwt`, real]);
    const provider = installed.start([], inView(real, `${workplace.directory}/${name}`));
    const socketPath = name === 'run' ? `${real}/kms.sock` : workplace.socketPath;
    await until(async () => (await reachable(socketPath)) === 'ok', 'service');
    await run(provider, real, installed);
  } finally {
    await installed.close();
  }
}

for (const [how, lose] of [
  ['removed', (real: string) => rmSync(real, { recursive: true })],
  ['moved away', (real: string) => renameSync(real, `${real}-away`)],
] as const) {
  const title = `a runtime directory that was ${how} on the host, and made anew where the unit cannot see it, ends the provider with 6`;
  scenarios[title] = async () => {
    if (skipWithout(isRoot, title, 'root')) return;
    await withView('run', async (provider, real, { workplace }) => {
      lose(real);
      makeDirectory(workplace, 'host');
      assert.is(await provider.exited, 6);
      const gone = provider.log.find(({ message }) => message === 'directory.gone');
      assert.equal([gone?.['name'], gone?.['reason']], ['runtime', 'stale']);
      assert.match(readFileSync(`${workplace.directory}/state/.key-registry.json.departed`, 'utf8'), /^[0-9]{13}\n$/u);
    });
  };
  const other = `a credentials directory that was ${how} on the host is told, and serves on while what is in use is good`;
  scenarios[other] = async () => {
    if (skipWithout(isRoot, other, 'root')) return;
    await withView('creds', async (provider, real, { workplace }) => {
      lose(real);
      const gone = await provider.event('directory.gone', looksMs);
      assert.equal([gone['name'], gone['reason']], ['credentials', 'stale']);
      assert.is(await reachable(workplace.socketPath), 'ok');
      assert.is(provider.child.exitCode, null);
    });
  };
}

const noneInUse = 'a credentials directory that is gone ends the provider at once when no credential is in use';
scenarios[noneInUse] = async () => {
  if (skipWithout(isRoot, noneInUse, 'root')) return;
  const installed = await install(withCredentials);
  const { workplace } = installed;
  const real = `${workplace.directory}/host`;
  try {
    makeDirectory(workplace, 'creds');
    makeDirectory(workplace, 'host');
    writeFileSync(`${real}/identity.jwt`, 'not.a.jwt');
    own(`${real}/identity.jwt`, workplace.uid, 0o640);
    const provider = installed.start([], inView(real, `${workplace.directory}/creds`));
    await provider.event('serve.start');
    rmSync(real, { recursive: true });
    assert.is(await provider.exited, 6);
    assert.is(
      provider.log.find(({ message }) => message === 'serve.departing')?.['reason'],
      'credentials_directory_gone',
    );
  } finally {
    await installed.close();
  }
};

const ending = 'a credentials directory that is gone ends the provider when the JWT in use has too little life left';
scenarios[ending] = async () => {
  if (skipWithout(isRoot, ending, 'root')) return;
  const jwt = { claims: { exp: Math.floor(Date.now() / 1000) + 60 }, minRemainingTtl: '25s' };
  await withView(
    'creds',
    async (provider, real, { workplace }) => {
      rmSync(real, { recursive: true });
      await provider.event('directory.gone', looksMs);
      assert.is(await reachable(workplace.socketPath), 'ok');
      assert.is(await provider.exited, 6);
      const last = provider.log.find(({ message }) => message === 'serve.departing');
      assert.is(last?.['reason'], 'credentials_directory_gone');
    },
    jwt,
  );
};

let running: Map<string, Promise<void>> | undefined;
const atOnce = 5;

/** All scenarios, a few at a time. */
function start(): Map<string, Promise<void>> {
  const lanes: Promise<unknown>[] = Array.from({ length: atOnce }, () => Promise.resolve());
  return new Map(
    Object.entries(scenarios).map(([title, scenario], index) => {
      const lane = index % atOnce;
      const promise = (lanes[lane] ?? Promise.resolve()).then(scenario);
      lanes[lane] = promise.catch(() => {});
      return [title, promise];
    }),
  );
}

for (const title of Object.keys(scenarios)) {
  test(title, () => {
    running ??= start();
    return running.get(title);
  });
}

test.run();
