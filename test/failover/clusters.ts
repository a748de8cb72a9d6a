// Three nodes of one OpenBao and what can happen to one of them: real ones with raft storage, or played ones that share the storage
// of one development server.

import { refuse } from '../support/openbao/answer.ts';
import { startForward } from '../support/openbao/forward.ts';
import type { Front } from '../support/openbao/front.ts';
import { findBao } from '../support/openbao/process.ts';
import { startRaftCluster } from '../support/openbao/raft.ts';
import { startDevelopmentServer } from '../support/openbao/server.ts';
import { until } from '../support/patience.ts';
import { type Authority, createAuthority, createLeaf } from '../support/pki.ts';

export type Deed = 'sealed' | 'killed' | 'frozen' | 'stepped down';

export type Cluster = {
  readonly isReal: boolean;
  readonly authority: Authority;
  readonly rootToken: string;
  readonly ports: readonly number[];
  /** The port of the active node. */
  readonly active: () => Promise<number>;
  /** Does this to a node; the function makes it well again and waits until it is. */
  readonly does: Record<Deed, (port: number) => Promise<() => Promise<void>>>;
  /** Whether a balancer would send somebody there. */
  readonly isWell: (port: number) => Promise<boolean>;
  readonly close: () => Promise<void>;
};

export async function startCluster(): Promise<Cluster> {
  const bao = findBao();
  return bao === undefined ? startPlayed() : startReal(bao);
}

async function startReal(bao: string): Promise<Cluster> {
  const cluster = await startRaftCluster({ bao });
  const nodeAt = (port: number) => {
    const node = cluster.nodes.find((one) => one.port === port);
    if (node === undefined) throw new Error('no such node');
    return node;
  };
  const isWell = async (port: number) => {
    const slow = new Promise<number>((resolve) => setTimeout(() => resolve(0), 1_000));
    return [200, 429].includes(await Promise.race([nodeAt(port).health(), slow]));
  };
  const untilWell = async (port: number) => {
    await until(() => isWell(port), 'a node that is well again');
    await cluster.leader();
  };
  return {
    isReal: true,
    authority: cluster.authority,
    rootToken: cluster.rootToken,
    ports: cluster.nodes.map(({ port }) => port),
    active: async () => (await cluster.leader()).port,
    isWell,
    close: cluster.close,
    does: {
      sealed: async (port) => {
        await cluster.seal(nodeAt(port));
        return async () => {
          await cluster.unseal(nodeAt(port));
          await untilWell(port);
        };
      },
      killed: async (port) => {
        await nodeAt(port).stop('SIGKILL');
        return async () => {
          await nodeAt(port).start();
          await cluster.unseal(nodeAt(port));
          await untilWell(port);
        };
      },
      frozen: async (port) => {
        nodeAt(port).freeze();
        return async () => {
          nodeAt(port).thaw();
          await untilWell(port);
        };
      },
      'stepped down': async (port) => {
        await nodeAt(port).send('POST', 'sys/step-down', cluster.rootToken);
        return () => untilWell(port);
      },
    },
  };
}

/** How long a node of the played cluster is nobody's standby after it stepped down, milliseconds. */
const betweenMs = 500;

async function startPlayed(): Promise<Cluster> {
  const authority = await createAuthority();
  const leaf = await createLeaf(authority);
  const bao = await startDevelopmentServer({ leaf });
  const behind = { address: bao.address, ca: authority.pem };
  const fronts = await Promise.all([0, 1, 2].map(() => startForward(behind, { leaf })));
  const frontAt = (port: number): Front => {
    const front = fronts.find((one) => one.port === port);
    if (front === undefined) throw new Error('no such node');
    return front;
  };
  const unwell = new Set<number>();
  const fault = async (port: number, value: Front['fault']) => {
    frontAt(port).fault = value;
    unwell.add(port);
    return async () => {
      frontAt(port).fault = undefined;
      unwell.delete(port);
    };
  };
  return {
    isReal: false,
    authority,
    rootToken: bao.rootToken,
    ports: fronts.map(({ port }) => port),
    active: async () => fronts[0]?.port ?? 0,
    isWell: async (port) => !unwell.has(port),
    close: async () => {
      await Promise.all(fronts.map((front) => front.close()));
      await bao.close();
    },
    does: {
      sealed: (port) => fault(port, () => refuse(503, 'Vault is sealed')),
      killed: async (port) => {
        unwell.add(port);
        await frontAt(port).pause();
        return async () => {
          await frontAt(port).resume();
          unwell.delete(port);
        };
      },
      frozen: (port) => fault(port, () => 'hang'),
      'stepped down': async (port) => {
        const mend = await fault(port, () => refuse(500, 'local node not active but active cluster node not found'));
        setTimeout(() => void mend(), betweenMs);
        return mend;
      },
    },
  };
}
