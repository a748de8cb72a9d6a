// Real OpenBao nodes with raft storage, as an operator runs them: initialised, unsealed and joined over the API. One node is what
// tests take where one server is enough; three are for what happens between them.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from '../patience.ts';
import { type Authority, createAuthority, createLeaf } from '../pki.ts';
import { type RaftNode, startRaftNode } from './raft-node.ts';

export type RaftCluster = {
  /** In the order in which they joined; the first one led at the start. */
  readonly nodes: readonly [RaftNode, ...RaftNode[]];
  /** Of every node's certificate, which is good for `localhost` and 127.0.0.1. */
  readonly authority: Authority;
  readonly rootToken: string;
  readonly unsealKey: string;
  /** The active node, once there is one. */
  readonly leader: () => Promise<RaftNode>;
  /** Unseals a node that answers; it is active or a standby then. */
  readonly unseal: (node: RaftNode) => Promise<void>;
  readonly seal: (node: RaftNode) => Promise<void>;
  /** A backup of the whole storage. */
  readonly backUp: () => Promise<Buffer>;
  /** Brings a backup back, by force, and waits until it is what the active node answers from. */
  readonly restore: (backup: Buffer) => Promise<void>;
  readonly close: () => Promise<void>;
};

export type RaftClusterOptions = { readonly bao: string; readonly size?: number; readonly authority?: Authority };

const electionMs = 15_000;
const unsealMs = 5_000;
const active = 200;
const standby = 429;

/** Starts that many real nodes, three unless told otherwise. */
export async function startRaftCluster(options: RaftClusterOptions): Promise<RaftCluster> {
  const { bao, size = 3 } = options;
  const authority = options.authority ?? (await createAuthority('raft test CA'));
  const directory = mkdtempSync(join(tmpdir(), 'bao-raft-'));
  const nodes: RaftNode[] = [];
  const close = async () => {
    await Promise.all(nodes.map((node) => node.close()));
    rmSync(directory, { recursive: true, force: true });
  };
  const add = async () => {
    const name = `node-${nodes.length + 1}`;
    const node = await startRaftNode({ bao, name, directory, leaf: await createLeaf(authority), ca: authority.pem });
    nodes.push(node);
    return node;
  };
  try {
    const first = await add();
    const keys = await initialise(first);
    await unseal(first, keys.unsealKey, [active]);
    while (nodes.length < size) await joins(await add(), first, authority.pem, keys.unsealKey);
    if (size > 1) await untilAllVote(first, keys.rootToken, size);
    return { nodes: [first, ...nodes.slice(1)], authority, ...keys, ...acts(nodes, keys), close };
  } catch (error) {
    await close();
    throw error;
  }
}

type Keys = Pick<RaftCluster, 'rootToken' | 'unsealKey'>;

function acts(
  nodes: readonly RaftNode[],
  { rootToken, unsealKey }: Keys,
): Pick<RaftCluster, 'leader' | 'unseal' | 'seal' | 'backUp' | 'restore'> {
  const leader = async () => {
    let found: RaftNode | undefined;
    await until(
      async () => {
        const health = await Promise.all(nodes.map((node) => node.health()));
        found = nodes.find((_, index) => health[index] === active);
        return found !== undefined;
      },
      'an active node',
      electionMs,
    );
    if (found === undefined) throw new Error('no active node');
    return found;
  };
  /** A line in the storage by which one sees which state of it answers. */
  const mark = async (value: string) => {
    const policy = `path "${value}" { capabilities = ["deny"] }`;
    await good(await leader(), 'POST', markPath, rootToken, { policy });
  };
  const backUp = async () => {
    const name = `backup-${counter++}`;
    await mark(name);
    const { bytes } = await good(await leader(), 'GET', 'sys/storage/raft/snapshot', rootToken);
    backups.set(bytes, name);
    await mark('newer');
    return bytes;
  };
  const backups = new WeakMap<Buffer, string>();
  let counter = 0;
  const restore = async (backup: Buffer) => {
    const name = backups.get(backup);
    if (name === undefined) throw new Error('no backup of this cluster');
    await mark('newer');
    await good(await leader(), 'POST', 'sys/storage/raft/snapshot-force', rootToken, backup);
    // It answers before it has begun.
    const isBack = async () => {
      const reply = await (await leader()).send('GET', markPath, rootToken).catch(() => undefined);
      return reply?.status === 200 && reply.bytes.includes(`\\"${name}\\"`);
    };
    await until(isBack, 'the restored backup', electionMs);
  };
  const seal = async (node: RaftNode) => void (await good(node, 'POST', 'sys/seal', rootToken));
  const whenServing = nodes.length === 1 ? [active] : [active, standby];
  return { leader, unseal: (node) => unseal(node, unsealKey, whenServing), seal, backUp, restore };
}

const markPath = 'sys/policies/acl/which-backup-this-is';

async function initialise(node: RaftNode): Promise<Keys> {
  const { bytes } = await good(node, 'POST', 'sys/init', '', { secret_shares: 1, secret_threshold: 1 });
  const { keys_base64: keys, root_token: rootToken } = JSON.parse(bytes.toString()) as {
    keys_base64: string[];
    root_token: string;
  };
  return { rootToken, unsealKey: keys[0] ?? '' };
}

/** @param served  what its health is when it serves: one that is alone must be active, others are active or a standby */
async function unseal(node: RaftNode, key: string, served: readonly number[] = [active, standby]): Promise<void> {
  let sentAtMs = Number.NEGATIVE_INFINITY;
  const isServing = async () => {
    const health = await node.health();
    // One that has just joined forgets a key that it was told too early; one that was told twice at once starts twice.
    if ((health === 503 || health === 501) && performance.now() > sentAtMs + unsealMs) {
      sentAtMs = performance.now();
      await node.send('POST', 'sys/unseal', '', { key });
    }
    return served.includes(health);
  };
  await until(isServing, `the unsealing of ${node.name}`, electionMs, 100);
}

/** Nodes that have just joined may not vote yet; without them nobody is elected when the first one is gone. */
async function untilAllVote(leader: RaftNode, rootToken: string, size: number): Promise<void> {
  const stable = { server_stabilization_time: '1s' };
  await good(leader, 'POST', 'sys/storage/raft/autopilot/configuration', rootToken, stable);
  const haveJoined = async () => {
    const { bytes } = await good(leader, 'GET', 'sys/storage/raft/configuration', rootToken);
    const { data } = JSON.parse(bytes.toString()) as { data: { config: { servers: { voter: boolean }[] } } };
    return data.config.servers.filter(({ voter }) => voter).length === size;
  };
  await until(haveJoined, 'votes of all nodes', electionMs, 100);
}

async function joins(node: RaftNode, leader: RaftNode, ca: string, key: string): Promise<void> {
  const body = { leader_api_addr: leader.address, leader_ca_cert: ca, leader_tls_servername: 'localhost' };
  await good(node, 'POST', 'sys/storage/raft/join', '', body);
  await unseal(node, key);
}

async function good(node: RaftNode, ...call: Parameters<RaftNode['send']>) {
  const reply = await node.send(...call);
  if (reply.status >= 300)
    throw new Error(`${call[0]} ${call[1]}: ${reply.status} ${reply.bytes.toString().slice(0, 500)}`);
  return reply;
}
