// A Debian booted in a container: debootstrap makes it, systemd-nspawn boots it, nsenter runs commands in it. The mirror is
// the one that this machine's own package sources name.

import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { limitOf } from './patience.ts';
import { root } from './workplace.ts';

export type MachineOutput = { readonly status: number; readonly output: string };

/** Debian 12 has systemd 252, Debian 13 has 257. */
export type Release = 'bookworm' | 'trixie';

export type Machine = {
  /** Its root directory, seen from here. */
  readonly directory: string;
  readonly write: (path: string, content: string, mode?: number, group?: string) => void;
  readonly boot: () => Promise<void>;
  /** A path of the running machine, below its own mounts, as this process can open it. */
  readonly inside: (path: string) => string;
  /** Runs a shell line inside; output and status. This process goes on meanwhile: the OpenBao that serves the machine is in it. */
  readonly run: (line: string) => Promise<MachineOutput>;
  readonly powerOff: () => Promise<void>;
  readonly remove: () => Promise<void>;
};

const packages = 'systemd,systemd-sysv,dbus,util-linux,procps';
const bootMs = 60_000;
const lineMs = 90_000;
const powerOffMs = 30_000;
const packagesMs = 400_000;

/** Why no machine can be made here; undefined when one can. */
export function missingForMachine(): string | undefined {
  if (process.geteuid?.() !== 0) return 'root';
  for (const name of ['debootstrap', 'systemd-nspawn', 'nsenter']) {
    if (spawnSync('which', [name]).status !== 0) return name;
  }
  return mirror() === undefined ? 'a Debian mirror in the package sources' : undefined;
}

function mirror(): string | undefined {
  const directory = '/etc/apt/sources.list.d';
  const files = existsSync(directory) ? readdirSync(directory).map((name) => join(directory, name)) : [];
  const texts = [...files, '/etc/apt/sources.list'].filter(existsSync).map((file) => readFileSync(file, 'utf8'));
  const uris = texts.flatMap((text) => [
    ...text.matchAll(/^(?:URIs:\s*|deb\s+(?:\[[^\]]*\]\s+)?)(https?:\/\/\S+\/debian)\/?(?:\s|$)/gmu),
  ]);
  return uris[0]?.[1];
}

/** The packages of the machine could not be brought: then there is none, which is no failure of ours. */
export class NoMachine extends Error {}

function debootstrap(release: Release, directory: string): void {
  const args = ['--variant=minbase', `--include=${packages}`, release, directory, mirror() ?? ''];
  const { status } = spawnSync('debootstrap', args, { stdio: 'ignore', timeout: limitOf(packagesMs) });
  if (status === 0) return;
  rmSync(directory, { recursive: true, force: true });
  throw new NoMachine('debootstrap could not bring the packages');
}

/** Makes a minimal Debian of a release and installs the deploy files and the build into it, as a package would. */
export function createMachine(release: Release): Machine {
  const directory = mkdtempSync(join(tmpdir(), 'bao-kms-machine-'));
  // It becomes the machine's root: others must be able to pass through it.
  chmodSync(directory, 0o755);
  debootstrap(release, directory);
  const at = (path: string) => join(directory, path);
  cpSync(join(root, 'dist'), at('usr/lib/bao-kms-provider'), { recursive: true });
  symlinkSync('../lib/bao-kms-provider/bao-kms-provider', at('usr/bin/bao-kms-provider'));
  const deploy = join(root, 'deploy/systemd');
  for (const unit of ['bao-kms-provider.service', 'bao-kms-provider@.service'])
    cpSync(join(deploy, unit), at(`usr/lib/systemd/system/${unit}`));
  for (const kind of ['sysusers', 'tmpfiles']) {
    mkdirSync(at(`usr/lib/${kind}.d`), { recursive: true });
    cpSync(join(deploy, `openbao-kms.${kind}.conf`), at(`usr/lib/${kind}.d/openbao-kms.conf`));
  }
  execFileSync('chroot', [directory, 'systemd-sysusers'], { stdio: 'ignore' });
  const wants = at('etc/systemd/system/multi-user.target.wants');
  mkdirSync(wants, { recursive: true });
  symlinkSync('/usr/lib/systemd/system/bao-kms-provider.service', join(wants, 'bao-kms-provider.service'));
  let container: ChildProcess | undefined;
  let leader = 0;
  const enter = (line: string) => ['-t', String(leader), '-m', '-u', '-i', '-n', '-p', '--', 'sh', '-c', line];
  const run = (line: string) =>
    new Promise<MachineOutput>((resolve) => {
      const child = spawn('nsenter', enter(line), { stdio: ['ignore', 'pipe', 'pipe'], timeout: limitOf(lineMs) });
      let output = '';
      for (const stream of [child.stdout, child.stderr])
        stream.on('data', (chunk: Buffer) => {
          output += chunk.toString('utf8');
        });
      child.once('close', (code) => resolve({ status: code ?? 1, output }));
    });
  const powerOff = async () => {
    if (container === undefined || container.exitCode !== null) return;
    const exited = new Promise((resolve) => container?.once('exit', resolve));
    await run('systemctl --no-block poweroff');
    const timer = setTimeout(() => container?.kill('SIGKILL'), limitOf(powerOffMs));
    await exited;
    clearTimeout(timer);
  };
  return {
    directory,
    write: (path, content, mode = 0o644, group = 'root') => {
      mkdirSync(dirname(at(path)), { recursive: true });
      writeFileSync(at(path), content);
      execFileSync('chroot', [
        directory,
        'sh',
        '-c',
        `chown root:${group} ${path} && chmod ${mode.toString(8)} ${path}`,
      ]);
    },
    boot: async () => {
      container = spawn(
        'systemd-nspawn',
        ['--quiet', '--register=no', '--keep-unit', '--console=pipe', '-b', '-D', directory],
        { stdio: 'ignore' },
      );
      const deadline = Date.now() + limitOf(bootMs);
      for (;;) {
        const children = spawnSync('ps', ['--ppid', String(container.pid), '-o', 'pid='], { encoding: 'utf8' }).stdout;
        leader = Number(children.trim().split('\n')[0] ?? 0);
        if (leader > 0 && /running|degraded/u.test((await run('systemctl is-system-running')).output)) return;
        if (Date.now() > deadline) throw new Error('the machine did not boot');
        await new Promise((resolve) => setTimeout(resolve, 250));
      }
    },
    inside: (path) => `/proc/${leader}/root${path}`,
    run,
    powerOff,
    remove: async () => {
      await powerOff();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
