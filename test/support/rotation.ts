// What an administrator and a client do in a cluster whose key rotates, and what they wait for.

import type { Cluster, Node } from './cluster.ts';
import { runCommand } from './command.ts';
import { envelopeOf } from './envelope.ts';
import { until } from './installation.ts';
import { providerName } from './kubernetes.ts';
import { defaultInstallation } from './openbao/provision.ts';
import { type Provider, untilHealthy } from './provider.ts';
import { etcdKey } from './secrets.ts';
import type { ConfigDocument } from './workplace.ts';

const key = `${defaultInstallation.mountPath}/keys/${defaultInstallation.keyName}`;
/** Observed once, active a second later. */
export const quickRotation = (config: ConfigDocument) => {
  config['rotation'] = { activationDelay: '1s', requireStableObservationCount: 1 };
};
export const rotate = ({ admin }: Cluster) => admin.call('POST', `${key}/rotate`);
export const restrict = ({ admin }: Cluster, version: number) =>
  admin.call('POST', `${key}/config`, { min_decryption_version: version });

/** The `key_id` with which an object is stored. */
export async function keyIdOf({ etcd }: Cluster, name: string): Promise<string> {
  const stored = await etcd.get(etcdKey(name));
  if (stored === undefined) throw new Error(`${name} is not in etcd`);
  return envelopeOf(stored, providerName).keyId;
}

/** Waits until a healthy Status names another key than `before`. @returns it */
export async function untilPromoted(provider: Provider, before: string): Promise<string> {
  let now = before;
  await until(
    async () => {
      const { healthz, keyId } = await provider.client.status();
      now = healthz === 'ok' ? keyId : before;
      return now !== before;
    },
    'the promotion',
    60_000,
  );
  return now;
}

/** Plans a transition and applies it, the provider being stopped. */
export async function apply({ workplace }: Cluster, command: string, ...words: string[]): Promise<void> {
  const plan = await runCommand(workplace, command, ...words, '--output', 'json');
  const hash = String(JSON.parse(plan.stdout).stateHash);
  const { code, stderr } = await runCommand(workplace, command, ...words, '--apply', '--expected-state-hash', hash);
  if (code !== 0) throw new Error(`${command}: exit code ${code}\n${stderr}`);
}

/** Writes objects until one carries another key than `before`. @returns its name */
export async function untilWrittenAnew(cluster: Cluster, node: Node, prefix: string, before: string): Promise<string> {
  let name = '';
  let count = 0;
  await until(
    async () => {
      // Asks for Status.
      await node.call('GET', '/readyz');
      name = `${prefix}-${count++}`;
      await node.secrets.create(name, name);
      return (await keyIdOf(cluster, name)) !== before;
    },
    'an object with the new key',
    60_000,
  );
  return name;
}

/** A cluster whose key was rotated once: `name` is stored with the first version, what follows with the second. */
export async function rotatedOnce(cluster: Cluster, name: string) {
  const provider = cluster.start();
  const before = await untilHealthy(provider);
  const node = await cluster.startApiServer();
  await node.secrets.create(name, name);
  await rotate(cluster);
  const after = await untilPromoted(provider, before);
  await untilWrittenAnew(cluster, node, 'new', before);
  return { provider, node, after };
}
