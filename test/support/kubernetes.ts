// A real API server with its etcd, found and never built here: KUBEBUILDER_ASSETS, or `kube-apiserver` and `etcd` on the path.

import { type ChildProcess, spawn } from 'node:child_process';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { accessSync, constants, mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { Agent, request } from 'undici';
import { type Authority, createAuthority, createLeaf } from './pki.ts';

export type KubernetesBinaries = { readonly apiServer: string; readonly etcd: string };

export function findKubernetes(): KubernetesBinaries | undefined {
  const assets = process.env['KUBEBUILDER_ASSETS'];
  const directories = [...(assets ? [assets] : []), ...(process.env['PATH'] ?? '').split(':')];
  const find = (name: string) => directories.map((directory) => join(directory, name)).find(isExecutable);
  const [apiServer, etcd] = [find('kube-apiserver'), find('etcd')];
  return apiServer === undefined || etcd === undefined ? undefined : { apiServer, etcd };
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

export type Etcd = {
  readonly url: string;
  /** The stored bytes at a key, or undefined. */
  readonly get: (key: string) => Promise<Buffer | undefined>;
  readonly stop: () => Promise<void>;
};

export type ApiServer = {
  readonly call: (
    method: 'GET' | 'POST' | 'PUT' | 'DELETE',
    path: string,
    body?: unknown,
  ) => Promise<{ status: number; body: Record<string, unknown> }>;
  readonly text: () => string;
  readonly stop: () => Promise<void>;
};

async function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' ? (address?.port ?? 0) : 0));
    });
  });
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await exited;
}

async function untilGood(
  what: string,
  claim: () => Promise<boolean>,
  text: () => string,
  timeoutMs = 90_000,
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await claim().catch(() => false))) {
    if (Date.now() > deadline) throw new Error(`${what} did not come up:\n${text().slice(-4_000)}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

export async function startEtcd(binary: string, directory: string): Promise<Etcd> {
  const [client, peer] = [await freePort(), await freePort()];
  const url = `http://127.0.0.1:${client}`;
  const peerUrl = `http://127.0.0.1:${peer}`;
  const flags = [
    `--data-dir=${join(directory, 'etcd')}`,
    `--listen-client-urls=${url}`,
    `--advertise-client-urls=${url}`,
    `--listen-peer-urls=${peerUrl}`,
    `--initial-advertise-peer-urls=${peerUrl}`,
    `--initial-cluster=default=${peerUrl}`,
  ];
  const child = spawn(binary, flags, { stdio: 'ignore' });
  await untilGood(
    'etcd',
    async () => (await request(`${url}/health`)).statusCode === 200,
    () => '',
  );
  return {
    url,
    get: async (key) => {
      const body = JSON.stringify({ key: Buffer.from(key).toString('base64') });
      const reply = await request(`${url}/v3/kv/range`, { method: 'POST', body });
      const { kvs } = (await reply.body.json()) as { kvs?: { value: string }[] };
      return kvs?.[0] === undefined ? undefined : Buffer.from(kvs[0].value, 'base64');
    },
    stop: () => ended(child),
  };
}

export type ApiServerOptions = {
  readonly binary: string;
  readonly directory: string;
  readonly etcdUrl: string;
  readonly socketPath: string;
  readonly providerName: string;
  /** Providers of the resource, first writes. */
  readonly order: readonly ('kms' | 'identity')[];
};

/** Files that stay the same over restarts of one API server. */
async function credentials(directory: string): Promise<{ token: string; authority: Authority }> {
  mkdirSync(directory, { recursive: true });
  const authority = await createAuthority('kube test CA');
  const leaf = await createLeaf(authority);
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const token = randomBytes(16).toString('hex');
  writeFileSync(join(directory, 'tls.crt'), leaf.certificate);
  writeFileSync(join(directory, 'tls.key'), leaf.key);
  writeFileSync(join(directory, 'sa.key'), privateKey.export({ type: 'pkcs8', format: 'pem' }));
  writeFileSync(join(directory, 'tokens.csv'), `${token},admin,admin,system:masters\n`);
  return { token, authority };
}

function encryptionConfig(options: ApiServerOptions): string {
  const providers = options.order.map((kind) =>
    kind === 'identity'
      ? { identity: {} }
      : {
          kms: {
            apiVersion: 'v2',
            name: options.providerName,
            endpoint: `unix://${options.socketPath}`,
            timeout: '3s',
          },
        },
  );
  return JSON.stringify({
    apiVersion: 'apiserver.config.k8s.io/v1',
    kind: 'EncryptionConfiguration',
    resources: [{ resources: ['secrets'], providers }],
  });
}

export async function startApiServer(options: ApiServerOptions): Promise<ApiServer> {
  const directory = join(options.directory, 'apiserver');
  const { token, authority } = await credentials(directory);
  const at = (name: string) => join(directory, name);
  writeFileSync(at('encryption.yaml'), encryptionConfig(options));
  const port = await freePort();
  const flags = [
    `--etcd-servers=${options.etcdUrl}`,
    `--secure-port=${port}`,
    '--bind-address=127.0.0.1',
    `--tls-cert-file=${at('tls.crt')}`,
    `--tls-private-key-file=${at('tls.key')}`,
    `--token-auth-file=${at('tokens.csv')}`,
    `--service-account-issuer=https://127.0.0.1:${port}`,
    `--service-account-key-file=${at('sa.key')}`,
    `--service-account-signing-key-file=${at('sa.key')}`,
    '--service-cluster-ip-range=10.0.0.0/24',
    '--authorization-mode=RBAC',
    '--disable-admission-plugins=ServiceAccount',
    `--encryption-provider-config=${at('encryption.yaml')}`,
  ];
  const child = spawn(options.binary, flags, { stdio: ['ignore', 'ignore', 'pipe'] });
  let text = '';
  child.stderr.on('data', (chunk: Buffer) => {
    text = `${text}${chunk.toString('utf8')}`.slice(-100_000);
  });
  const dispatcher = new Agent({ connect: { ca: authority.pem, servername: 'localhost' }, allowH2: false });
  const call: ApiServer['call'] = async (method, path, body) => {
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
    const reply = await request(`https://127.0.0.1:${port}${path}`, {
      method,
      headers,
      dispatcher,
      body: body === undefined ? null : JSON.stringify(body),
    });
    const answer = await reply.body.text();
    return { status: reply.statusCode, body: answer.startsWith('{') ? JSON.parse(answer) : { text: answer } };
  };
  await untilGood(
    'the API server',
    async () => (await call('GET', '/readyz')).status === 200,
    () => text,
  );
  const stop = async () => {
    await dispatcher.close();
    await ended(child);
  };
  return { call, text: () => text, stop };
}
