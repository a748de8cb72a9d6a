// An etcd and any number of API servers before it: how they are started, asked and stopped. Whole ones and small ones
// (kubernetes-binaries.ts) differ in a few flags only.

import { type ChildProcess, spawn } from 'node:child_process';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Agent, request } from 'undici';
import { end, hasEnded } from './child.ts';
import type { KubernetesBinaries } from './kubernetes-binaries.ts';
import { until } from './patience.ts';
import { type Authority, createAuthority, createLeaf } from './pki.ts';
import { freePort } from './ports.ts';

export type Etcd = {
  readonly url: string;
  /** The stored bytes at a key, or undefined. */
  readonly get: (key: string) => Promise<Buffer | undefined>;
  readonly put: (key: string, value: Buffer) => Promise<void>;
  readonly stop: () => Promise<void>;
};

export type ApiServer = {
  readonly call: (
    method: 'GET' | 'POST' | 'PUT' | 'DELETE',
    path: string,
    body?: unknown,
  ) => Promise<{ status: number; body: Record<string, unknown> }>;
  /** Writes its file; with reload it is read within a minute or two. */
  readonly configure: (encryption: EncryptionOptions) => void;
  readonly text: () => string;
  readonly stop: () => Promise<void>;
};

/** A whole one makes its namespaces and roles before it is ready. */
const startMs = 90_000;

async function untilGood(
  what: string,
  claim: () => Promise<boolean>,
  child: ChildProcess | undefined,
  text: () => string,
  calmMs = startMs,
): Promise<void> {
  const isGood = async () => {
    if (child !== undefined && hasEnded(child)) throw new Error(`${what}: the program ended`);
    return claim().catch(() => false);
  };
  await until(isGood, what, calmMs, 200).catch((error: Error) => {
    throw new Error(`${error.message}\n${text().slice(-4_000)}`);
  });
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
  const isUp = async () => (await request(`${url}/health`)).statusCode === 200;
  try {
    await untilGood('etcd', isUp, child, () => '');
  } catch (error) {
    await end(child);
    throw error;
  }
  return {
    url,
    get: async (key) => {
      const body = JSON.stringify({ key: Buffer.from(key).toString('base64') });
      const reply = await request(`${url}/v3/kv/range`, { method: 'POST', body });
      const { kvs } = (await reply.body.json()) as { kvs?: { value: string }[] };
      return kvs?.[0] === undefined ? undefined : Buffer.from(kvs[0].value, 'base64');
    },
    put: async (key, value) => {
      const body = JSON.stringify({ key: Buffer.from(key).toString('base64'), value: value.toString('base64') });
      await (await request(`${url}/v3/kv/put`, { method: 'POST', body })).body.dump();
    },
    stop: () => end(child),
  };
}

export type ApiServerOptions = {
  readonly binaries: KubernetesBinaries;
  /** Of this API server alone. */
  readonly directory: string;
  readonly etcdUrl: string;
  readonly socketPath: string;
  /** Providers of the resource, first writes. */
  readonly order?: readonly ('kms' | 'identity')[];
  /** Looks at its configuration every minute. */
  readonly hasReload?: boolean;
  /** Wait only until something answers: without a good KMS it is not ready. */
  readonly mayBeUnready?: boolean;
};

export const providerName = 'openbao-kms-test';

/** Certificate, token and signing key of one API server, as files and in hand. */
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

export type EncryptionOptions = Pick<ApiServerOptions, 'socketPath' | 'order'> & { readonly timeout?: string };

function encryptionConfig({ socketPath, order = ['kms', 'identity'], timeout = '3s' }: EncryptionOptions): string {
  const kms = { apiVersion: 'v2', name: providerName, endpoint: `unix://${socketPath}`, timeout };
  return JSON.stringify({
    apiVersion: 'apiserver.config.k8s.io/v1',
    kind: 'EncryptionConfiguration',
    resources: [
      { resources: ['secrets'], providers: order.map((kind) => (kind === 'kms' ? { kms } : { identity: {} })) },
    ],
  });
}

/** Flags that only a whole one knows. */
const wholeFlags = (port: number, at: (name: string) => string) => [
  `--token-auth-file=${at('tokens.csv')}`,
  `--service-account-issuer=https://127.0.0.1:${port}`,
  `--service-account-key-file=${at('sa.key')}`,
  `--service-account-signing-key-file=${at('sa.key')}`,
  '--service-cluster-ip-range=10.0.0.0/24',
  '--authorization-mode=RBAC',
  '--disable-admission-plugins=ServiceAccount',
];

export async function startApiServer(options: ApiServerOptions): Promise<ApiServer> {
  const directory = join(options.directory, 'apiserver');
  const { token, authority } = await credentials(directory);
  const at = (name: string) => join(directory, name);
  const configure = (encryption: EncryptionOptions) => {
    writeFileSync(at('encryption.new'), encryptionConfig(encryption));
    renameSync(at('encryption.new'), at('encryption.yaml'));
  };
  configure(options);
  const port = await freePort();
  const flags = [
    `--etcd-servers=${options.etcdUrl}`,
    `--secure-port=${port}`,
    '--bind-address=127.0.0.1',
    `--tls-cert-file=${at('tls.crt')}`,
    `--tls-private-key-file=${at('tls.key')}`,
    `--encryption-provider-config=${at('encryption.yaml')}`,
    ...(options.hasReload === true ? ['--encryption-provider-config-automatic-reload'] : []),
    ...(options.binaries.isWhole ? wholeFlags(port, at) : []),
  ];
  const child = spawn(options.binaries.apiServer, flags, { stdio: ['ignore', 'ignore', 'pipe'] });
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
  const isUp = async () => {
    const isReady = (await call('GET', '/readyz')).status === 200 || options.mayBeUnready === true;
    // A whole one makes its namespaces after its start.
    return isReady && (!options.binaries.isWhole || (await call('GET', '/api/v1/namespaces/default')).status === 200);
  };
  const stop = async () => {
    await end(child);
    await dispatcher.destroy();
  };
  try {
    await untilGood('the API server', isUp, child, () => text);
  } catch (error) {
    await stop();
    throw error;
  }
  return { call, configure, text: () => text, stop };
}

/**
 * Waits until it is ready; asking also lets it ask for Status every 20 s instead of every minute, or every 3 s while ill. Unless told
 * otherwise it is one that asked just now.
 */
export const untilReady = ({ call, text }: ApiServer, calmMs = 60_000): Promise<void> =>
  untilGood('readiness', async () => (await call('GET', '/readyz')).status === 200, undefined, text, calmMs);
