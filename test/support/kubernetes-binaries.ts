// Where an API server and an etcd come from. Whole ones are found and never built here: KUBEBUILDER_ASSETS, or `kube-apiserver` and
// `etcd` on the path. Where there are none, `test/support/kubernetes` is built with the machine's Go: the API server's own library
// with nothing but Secrets, and the library of etcd. A machine that cannot have them skips; a program of ours that does not
// build is an error.

import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { firstExecutable, onPath } from './executable.ts';
import { skipWithout } from './skip.ts';
import { root } from './workplace.ts';

export type KubernetesBinaries = { readonly apiServer: string; readonly etcd: string; readonly isReal: boolean };
type Missing = { readonly missing: string };

let found: KubernetesBinaries | Missing | undefined;

/** Finds or builds them, once a process. @throws Error when our programs do not build */
function kubernetes(): KubernetesBinaries | Missing {
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
  return apiServer === undefined || etcd === undefined ? undefined : { apiServer, etcd, isReal: true };
}

const cwd = join(root, 'test/support/kubernetes');
const buildTimeoutMs = 540_000;

/** Kept between runs and shared by the files that run side by side: the first one builds, the others wait for it. */
function buildKubernetes(): KubernetesBinaries | Missing {
  if (spawnSync('go', ['version']).status !== 0) return { missing: 'kube-apiserver and etcd, or Go' };
  // Fetches the modules of every package that is needed, and compiles none.
  const listed = spawnSync('go', ['list', '-deps', '-mod=readonly', './...'], { cwd, timeout: buildTimeoutMs });
  if (listed.status !== 0) {
    return { missing: 'kube-apiserver and etcd, or a current Go and the modules of their libraries' };
  }
  const directory = join(root, 'node_modules/.cache/kubernetes');
  mkdirSync(directory, { recursive: true });
  const build = ['go', 'build', '-trimpath', '-mod=readonly', '-o', `${directory}/`, './...'];
  const built = spawnSync('flock', [`${directory}.lock`, ...build], { cwd, timeout: buildTimeoutMs, encoding: 'utf8' });
  if (built.status !== 0) throw new Error(`test/support/kubernetes does not build:\n${built.stderr}`);
  return { apiServer: join(directory, 'api-server'), etcd: join(directory, 'etcd'), isReal: false };
}
