// Where an API server and an etcd come from. Whole ones of this machine are found: KUBEBUILDER_ASSETS, or `kube-apiserver` and `etcd` on
// the path. Where there are none they are built with the machine's Go out of `test/support/kubernetes`: etcd from its own library, and one
// of two API servers. The small one is the API server's own library with nothing but Secrets, quick to build. The whole one is
// kube-apiserver itself from the modules of Kubernetes; its first build takes many minutes, so it is made when `KUBERNETES=whole` asks for
// it, and taken whenever it is there. A machine that cannot have them skips; a program of ours that does not build is an error.

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { firstExecutable, onPath } from './executable.ts';
import { buildGoTool, type GoTool, goCache, pathOf } from './go-tool.ts';
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

const sources = join(root, 'test/support/kubernetes');

const library = { cwd: sources, directory: join(goCache, 'kubernetes'), flags: [], calmMs: 540_000 };
const etcd: GoTool = { ...library, packagePath: 'etcd', name: 'etcd' };
const small: GoTool = { ...library, packagePath: 'api-server', name: 'api-server' };

function wholeTool(): GoTool {
  const cwd = join(sources, 'whole');
  const [, version = ''] = /^\s+k8s\.io\/kubernetes (v\S+)$/mu.exec(readFileSync(join(cwd, 'go.mod'), 'utf8')) ?? [];
  const flags = ['-ldflags', `-s -w -X k8s.io/component-base/version.gitVersion=${version}`];
  const directory = join(goCache, `kubernetes-${version}`);
  return { cwd, packagePath: 'kube-apiserver', name: 'kube-apiserver', directory, flags, calmMs: 1_800_000 };
}

function buildKubernetes(): KubernetesBinaries | Missing {
  const whole = wholeTool();
  const wish = process.env['KUBERNETES'];
  const isWhole = wish === 'whole' || (wish !== 'small' && existsSync(pathOf(whole)));
  const apiServer = isWhole ? whole : small;
  const missing = build(etcd) ?? build(apiServer);
  return missing === undefined ? { apiServer: pathOf(apiServer), etcd: pathOf(etcd), isWhole } : { missing };
}

/** @returns what is missing for it */
function build(tool: GoTool): string | undefined {
  const missing = buildGoTool(tool);
  if (missing === undefined) return undefined;
  return `kube-apiserver and etcd, or ${missing === 'Go' ? 'Go' : 'a current Go and the modules of their libraries'}`;
}
