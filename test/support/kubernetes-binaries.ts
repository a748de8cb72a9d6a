// Where an API server and an etcd come from. Whole ones of this machine are found: KUBEBUILDER_ASSETS, or `kube-apiserver` and `etcd` on
// the path. Where there are none they are built with the machine's Go out of `test/support/kubernetes`: etcd from its own library, and one
// of two API servers. The small one is the API server's own library with nothing but Secrets, quick to build. The whole one is
// kube-apiserver itself from the modules of Kubernetes; its first build takes many minutes, so it is made when `KUBERNETES=whole` asks for
// it, and taken whenever it is there. A machine that cannot have them skips; a program of ours that does not build is an error.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { firstExecutable, onPath } from './executable.ts';
import { limitOf } from './patience.ts';
import { skipWithout } from './skip.ts';
import { root } from './workplace.ts';

export type KubernetesBinaries = { readonly apiServer: string; readonly etcd: string; readonly isWhole: boolean };
type Missing = { readonly missing: string };

let found: KubernetesBinaries | Missing | undefined;

/** Finds or builds them, once a process. @throws Error when our programs do not build */
export function kubernetes(): KubernetesBinaries | Missing {
  found ??= findKubernetes() ?? buildKubernetes();
  return found;
}

/** The servers, or undefined after the loud line that `title` is skipped. @throws Error when our programs do not build */
export function kubernetesFor(title: string): KubernetesBinaries | undefined {
  const binaries = kubernetes();
  const missing = 'missing' in binaries ? binaries.missing : '';
  return skipWithout(missing === '', title, missing) || 'missing' in binaries ? undefined : binaries;
}

/** Whether there is an API server for tests. @throws Error when our programs do not build */
export const hasKubernetes = (): boolean => !('missing' in kubernetes());

function findKubernetes(): KubernetesBinaries | undefined {
  const assets = process.env['KUBEBUILDER_ASSETS'];
  const find = (name: string) => firstExecutable([...(assets ? [join(assets, name)] : []), ...onPath(name)]);
  const [apiServer, etcd] = [find('kube-apiserver'), find('etcd')];
  return apiServer === undefined || etcd === undefined ? undefined : { apiServer, etcd, isWhole: true };
}

type Tool = {
  /** The module's folder, and the program's below it. */
  readonly cwd: string;
  readonly name: string;
  /** Kept between runs. */
  readonly directory: string;
  readonly flags: readonly string[];
  /** Of the first build; later ones take what Go keeps. */
  readonly calmMs: number;
};

const sources = join(root, 'test/support/kubernetes');
const cache = join(root, 'node_modules/.cache');

const library = { cwd: sources, directory: join(cache, 'kubernetes'), flags: [], calmMs: 540_000 };
const etcd: Tool = { ...library, name: 'etcd' };
const small: Tool = { ...library, name: 'api-server' };

function wholeTool(): Tool {
  const cwd = join(sources, 'whole');
  const [, version = ''] = /^\s+k8s\.io\/kubernetes (v\S+)$/mu.exec(readFileSync(join(cwd, 'go.mod'), 'utf8')) ?? [];
  const flags = ['-ldflags', `-s -w -X k8s.io/component-base/version.gitVersion=${version}`];
  return { cwd, name: 'kube-apiserver', directory: join(cache, `kubernetes-${version}`), flags, calmMs: 1_800_000 };
}

const pathOf = ({ directory, name }: Tool) => join(directory, name);

/** Newer than what it is made of. */
function isBuilt(tool: Tool): boolean {
  const modifiedMs = (path: string) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  const from = ['go.mod', 'go.sum', `${tool.name}/main.go`].map((path) => modifiedMs(join(tool.cwd, path)));
  return modifiedMs(pathOf(tool)) > Math.max(...from);
}

function buildKubernetes(): KubernetesBinaries | Missing {
  const whole = wholeTool();
  const wish = process.env['KUBERNETES'];
  const isWhole = wish === 'whole' || (wish !== 'small' && existsSync(pathOf(whole)));
  const apiServer = isWhole ? whole : small;
  const missing = build(etcd) ?? build(apiServer);
  return missing === undefined ? { apiServer: pathOf(apiServer), etcd: pathOf(etcd), isWhole } : { missing };
}

/** Shared by the files that run side by side: the first one builds, the others wait for it. @returns what is missing for it */
function build(tool: Tool): string | undefined {
  if (isBuilt(tool)) return undefined;
  if (spawnSync('go', ['version']).status !== 0) return 'kube-apiserver and etcd, or Go';
  const { cwd, name, directory, flags, calmMs } = tool;
  // Fetches the modules of every package that is needed, and compiles none.
  const timeout = limitOf(calmMs);
  const listed = spawnSync('go', ['list', '-deps', '-mod=readonly', `./${name}`], { cwd, timeout, stdio: 'ignore' });
  if (listed.status !== 0) return 'kube-apiserver and etcd, or a current Go and the modules of their libraries';
  mkdirSync(directory, { recursive: true });
  const command = ['go', 'build', '-trimpath', '-mod=readonly', ...flags, '-o', `${directory}/`, `./${name}`];
  const built = spawnSync('flock', [`${directory}.lock`, ...command], { cwd, timeout, encoding: 'utf8' });
  if (built.status !== 0) throw new Error(`${name} does not build:\n${built.stderr}`);
  return undefined;
}
