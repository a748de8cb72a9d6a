// A control plane on one machine: OpenBao, the provider, etcd, and any number of API servers, real ones where they are found.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import { type Administration, openAdministration } from './key-administration.ts';
import { type ApiServer, type ApiServerOptions, type Etcd, startApiServer, startEtcd } from './kubernetes.ts';
import { kubernetesFor } from './kubernetes-binaries.ts';
import { secretsOf } from './secrets.ts';
import type { ConfigDocument } from './workplace.ts';

export type Node = ApiServer & { readonly secrets: ReturnType<typeof secretsOf> };
export type NodeOptions = Partial<Pick<ApiServerOptions, 'socketPath' | 'order' | 'hasReload' | 'mayBeUnready'>>;

export type Cluster = Administration & {
  readonly etcd: Etcd;
  /** `etcd` below it is etcd's data. */
  readonly directory: string;
  /** An API server before this workplace's provider unless another socket is named; it is stopped with the cluster. */
  readonly startApiServer: (options?: NodeOptions) => Promise<Node>;
};

/** A test that gets a cluster, or says that it is skipped. */
export function withCluster(
  title: string,
  run: (cluster: Cluster) => Promise<void>,
  change?: (config: ConfigDocument) => void,
): void {
  test(title, async () => {
    const binaries = kubernetesFor(title);
    if (binaries === undefined) return;
    const directory = mkdtempSync(join(tmpdir(), 'bao-kms-cluster-'));
    const { administration, close } = await openAdministration(change);
    const nodes: ApiServer[] = [];
    let etcd: Etcd | undefined;
    try {
      const started = await startEtcd(binaries.etcd, directory);
      etcd = started;
      const start: Cluster['startApiServer'] = async (options = {}) => {
        const node = await startApiServer({
          binaries,
          directory: join(directory, String(nodes.length)),
          etcdUrl: started.url,
          socketPath: administration.workplace.socketPath,
          ...options,
        });
        nodes.push(node);
        return { ...node, secrets: secretsOf(node) };
      };
      await run({ ...administration, etcd: started, directory, startApiServer: start });
    } finally {
      await Promise.all(nodes.map((node) => node.stop()));
      await etcd?.stop();
      await close();
      rmSync(directory, { recursive: true, force: true });
    }
  });
}
