// One real OpenBao with raft storage on the loopback address: its files, its process, and what can be done to it as a machine. It
// keeps ports and data when it is stopped or killed, and comes back with them.

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Agent, request } from 'undici';
import { end, hasEnded } from '../child.ts';
import { limitOf, until } from '../patience.ts';
import type { Leaf } from '../pki.ts';
import { freePort } from '../ports.ts';

export type RaftNode = {
  readonly name: string;
  /** Of its API: `https://127.0.0.1:port`. */
  readonly address: string;
  readonly port: number;
  /** To the other nodes. */
  readonly clusterPort: number;
  readonly pid: () => number;
  /** The status of `sys/health`: 200 active, 429 standby, 501 not initialised, 503 sealed; 0: nothing answers. */
  readonly health: () => Promise<number>;
  readonly version: () => Promise<string>;
  /** A call of the administrator to this node, JSON or bytes. */
  readonly send: (method: 'GET' | 'POST', path: string, token: string, body?: unknown) => Promise<RaftReply>;
  /** Starts it where it stopped; it answers then and is sealed. */
  readonly start: () => Promise<void>;
  /** SIGTERM unless another signal is named; it is gone then. */
  readonly stop: (signal?: NodeJS.Signals) => Promise<void>;
  /** Nothing of it runs and its connections stay, as on a machine that hangs. */
  readonly freeze: () => void;
  readonly thaw: () => void;
  /** Ends it for good. */
  readonly close: () => Promise<void>;
};
export type RaftReply = { readonly status: number; readonly bytes: Buffer };

export type RaftNodeOptions = {
  readonly bao: string;
  readonly name: string;
  /** Of the whole cluster; the node has its own below it. */
  readonly directory: string;
  readonly leaf: Leaf;
  readonly ca: string;
};

/** A call may wait for the raft log or a restored snapshot. */
const callMs = 30_000;
const startMs = 15_000;
/** One that is frozen answers nothing. */
const healthMs = 1_000;

/** Writes its files and starts it. */
export async function startRaftNode({ bao, name, directory, leaf, ca }: RaftNodeOptions): Promise<RaftNode> {
  const home = join(directory, name);
  const [port, clusterPort] = [await freePort(), await freePort()];
  writeFiles(home, { name, port, clusterPort, leaf });
  const address = `https://127.0.0.1:${port}`;
  const dispatcher = new Agent({ connect: { ca, servername: 'localhost' }, allowH2: false });
  let child: ChildProcess | undefined;
  const send: RaftNode['send'] = async (method, path, token, body) => {
    const isBytes = Buffer.isBuffer(body);
    const reply = await request(`${address}/v1/${path}`, {
      method,
      dispatcher,
      headers: { 'content-type': isBytes ? 'application/gzip' : 'application/json', 'x-vault-token': token },
      headersTimeout: limitOf(callMs),
      bodyTimeout: limitOf(callMs),
      body: body === undefined ? null : isBytes ? body : JSON.stringify(body),
    });
    return { status: reply.statusCode, bytes: Buffer.from(await reply.body.arrayBuffer()) };
  };
  const health = async () => {
    const signal = AbortSignal.timeout(limitOf(healthMs));
    const reply = await request(`${address}/v1/sys/health`, { dispatcher, signal }).catch(() => undefined);
    await reply?.body.dump().catch(() => undefined);
    return reply?.statusCode ?? 0;
  };
  const version = async () => String(JSON.parse(String((await send('GET', 'sys/seal-status', '')).bytes)).version);
  const log = join(home, 'log');
  const start = async () => {
    const environment = { HOME: home, PATH: process.env['PATH'] ?? '' };
    // A test that is killed takes it along.
    const command = ['setpriv', '--pdeathsig=KILL', '--', bao, 'server', `-config=${join(home, 'config.json')}`];
    const started = spawn('sh', ['-c', 'exec "$@" >> "$0" 2>&1', log, ...command], {
      stdio: 'ignore',
      env: environment,
    });
    child = started;
    const isUp = async () => {
      if (hasEnded(started)) throw new Error(`OpenBao ended:\n${readFileSync(log, 'utf8').slice(-4_000)}`);
      return (await health()) !== 0;
    };
    await until(isUp, `an answer of ${name}`, startMs);
  };
  const signal = (name: NodeJS.Signals) => void child?.kill(name);
  const stop = async (name: NodeJS.Signals = 'SIGTERM') => {
    if (child === undefined) return;
    const ended = end(child, name);
    // One that is frozen gets a signal only when it goes on.
    signal('SIGCONT');
    await ended;
  };
  const close = async () => {
    await stop('SIGKILL');
    await dispatcher.destroy();
  };
  try {
    await start();
  } catch (error) {
    await close();
    throw error;
  }
  const freeze = () => signal('SIGSTOP');
  const thaw = () => signal('SIGCONT');
  const pid = () => child?.pid ?? 0;
  return { name, address, port, clusterPort, pid, health, version, send, start, stop, freeze, thaw, close };
}

type Files = { readonly name: string; readonly port: number; readonly clusterPort: number; readonly leaf: Leaf };

function writeFiles(home: string, { name, port, clusterPort, leaf }: Files): void {
  const at = (file: string) => join(home, file);
  mkdirSync(at('data'), { recursive: true });
  writeFileSync(at('tls.crt'), leaf.certificate);
  writeFileSync(at('tls.key'), leaf.key, { mode: 0o600 });
  const listener = {
    address: `127.0.0.1:${port}`,
    cluster_address: `127.0.0.1:${clusterPort}`,
    tls_cert_file: at('tls.crt'),
    tls_key_file: at('tls.key'),
  };
  const config = {
    storage: {
      raft: {
        path: at('data'),
        node_id: name,
        // The quickest elections that it offers, as a production cluster is advised to have them.
        performance_multiplier: '1',
        // How often it looks whether a new node may vote.
        autopilot_update_interval: '500ms',
        autopilot_reconcile_interval: '1s',
      },
    },
    listener: [{ tcp: listener }],
    api_addr: `https://127.0.0.1:${port}`,
    cluster_addr: `https://127.0.0.1:${clusterPort}`,
    cluster_name: 'bao-kms-test',
    log_level: 'info',
  };
  writeFileSync(at('config.json'), JSON.stringify(config));
}
