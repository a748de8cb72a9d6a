// An OpenBao as a process of its own: the embedded development server, or a real `bao` with raft storage, found by BAO_BIN or on the
// path and never built here.

import { type ChildProcess, spawn } from 'node:child_process';
import { end } from '../child.ts';
import { firstExecutable, onPath } from '../executable.ts';
import { startRaftCluster } from './raft.ts';

export type OpenBaoProcess = {
  readonly address: string;
  readonly rootToken: string;
  readonly ca: string;
  readonly version: string;
  readonly isReal: boolean;
  readonly stop: () => Promise<void>;
};

export type RealOpenBao = OpenBaoProcess & {
  readonly unseal: () => Promise<void>;
  /** Takes a backup of the storage; the function brings it back. */
  readonly backUp: () => Promise<() => Promise<void>>;
};

/** The real `bao`, if there is one. */
export function findBao(): string | undefined {
  const named = process.env['BAO_BIN'];
  return firstExecutable(named ? [named] : onPath('bao'));
}

export async function startOpenBao(isReal = false): Promise<OpenBaoProcess> {
  return isReal ? startRealOpenBao() : startEmbedded();
}

/** One node of its own. @throws Error when there is no `bao` */
export async function startRealOpenBao(): Promise<RealOpenBao> {
  const bao = findBao();
  if (bao === undefined) throw new Error('no real OpenBao found: set BAO_BIN or put bao on the path');
  return startReal(bao);
}

async function startEmbedded(): Promise<OpenBaoProcess> {
  const main = new URL('main.ts', import.meta.url).pathname;
  const child = spawn(process.execPath, [main], { stdio: ['pipe', 'pipe', 'ignore'] });
  const line = await firstLine(child);
  const { address, rootToken, ca, version } = JSON.parse(line) as Record<
    'address' | 'rootToken' | 'ca' | 'version',
    string
  >;
  return { address, rootToken, ca, version, isReal: false, stop: () => end(child) };
}

function firstLine(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString('utf8');
      const end = text.indexOf('\n');
      if (end >= 0) resolve(text.slice(0, end));
    });
    child.once('exit', (code) => reject(new Error(`the development server ended with exit code ${code}`)));
  });
}

async function startReal(bao: string): Promise<RealOpenBao> {
  const cluster = await startRaftCluster({ bao, size: 1 });
  const [node] = cluster.nodes;
  const { rootToken, backUp } = cluster;
  return {
    address: node.address,
    rootToken,
    ca: cluster.authority.pem,
    version: await node.version(),
    isReal: true,
    unseal: () => cluster.unseal(node),
    backUp: async () => {
      const backup = await backUp();
      return () => cluster.restore(backup);
    },
    stop: cluster.close,
  };
}
