// An API server with its etcd. A real one is found and never built here: KUBEBUILDER_ASSETS, or `kube-apiserver` and `etcd` on
// the path. Where there is none, `test/support/kubernetes` is built with the machine's Go: the API server's own library with
// nothing but Secrets, and the library of etcd.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { accessSync, constants, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { Agent, request } from 'undici';
import { type Authority, createAuthority, createLeaf } from './pki.ts';
import { skipWithout } from './skip.ts';
import { root } from './workplace.ts';

export type KubernetesBinaries = { readonly apiServer: string; readonly etcd: string; readonly isReal: boolean };

let found: KubernetesBinaries | { readonly missing: string } | undefined;

/** The servers, or undefined after the loud line that `title` is skipped. */
export function kubernetesFor(title: string): KubernetesBinaries | undefined {
  found ??= findKubernetes() ?? buildKubernetes();
  const missing = 'missing' in found ? found.missing : '';
  return skipWithout(missing === '', title, missing) || 'missing' in found ? undefined : found;
}

const buildTimeoutMs = 540_000;

/** Kept between runs and shared by the files that run side by side: the first one builds, the others wait for it. */
function buildKubernetes(): KubernetesBinaries | { readonly missing: string } {
  if (!hasGo()) return { missing: 'kube-apiserver and etcd, or Go' };
  const directory = join(root, 'node_modules/.cache/kubernetes');
  mkdirSync(directory, { recursive: true });
  const build = ['go', 'build', '-trimpath', '-mod=readonly', '-o', `${directory}/`, './...'];
  const { status } = spawnSync('flock', [`${directory}.lock`, ...build], {
    cwd: join(root, 'test/support/kubernetes'),
    stdio: 'ignore',
    timeout: buildTimeoutMs,
  });
  if (status !== 0) return { missing: 'kube-apiserver and etcd, or a current Go and the modules of their libraries' };
  return { apiServer: join(directory, 'api-server'), etcd: join(directory, 'etcd'), isReal: false };
}

const hasGo = () => spawnSync('go', ['version']).status === 0;

/** Whether there will be an API server, without making one. */
export const canHaveKubernetes = (): boolean => findKubernetes() !== undefined || hasGo();

function findKubernetes(): KubernetesBinaries | undefined {
  const assets = process.env['KUBEBUILDER_ASSETS'];
  const directories = [...(assets ? [assets] : []), ...(process.env['PATH'] ?? '').split(':')];
  const find = (name: string) => directories.map((directory) => join(directory, name)).find(isExecutable);
  const [apiServer, etcd] = [find('kube-apiserver'), find('etcd')];
  return apiServer === undefined || etcd === undefined ? undefined : { apiServer, etcd, isReal: true };
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
  child: ChildProcess | undefined,
  text: () => string,
  timeoutMs = 90_000,
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await claim().catch(() => false))) {
    if (Date.now() > deadline || typeof child?.exitCode === 'number')
      throw new Error(`${what} did not come up:\n${text().slice(-4_000)}`);
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
  const isUp = async () => (await request(`${url}/health`)).statusCode === 200;
  try {
    await untilGood('etcd', isUp, child, () => '');
  } catch (error) {
    await ended(child);
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
    stop: () => ended(child),
  };
}

export type ApiServerOptions = {
  readonly binaries: KubernetesBinaries;
  /** Of this API server alone; its files are the same over restarts. */
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
    ...(options.binaries.isReal ? wholeFlags(port, at) : []),
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
    return isReady && (!options.binaries.isReal || (await call('GET', '/api/v1/namespaces/default')).status === 200);
  };
  const stop = async () => {
    await ended(child);
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

export const secretsPath = '/api/v1/namespaces/default/secrets';

/** Waits until it is ready; asking also lets it ask for Status every 20 s instead of every minute, or every 3 s while ill. */
export const untilReady = ({ call, text }: ApiServer, timeoutMs = 60_000): Promise<void> =>
  untilGood('readiness', async () => (await call('GET', '/readyz')).status === 200, undefined, text, timeoutMs);

const initializingMs = 30_000;

/** A client of Secrets in one namespace; as good clients do it comes again while it is told that the storage is initializing. */
export const secretsOf = ({ call }: ApiServer) => {
  const good = async (...[method, path, body]: Parameters<ApiServer['call']>) => {
    const deadline = Date.now() + initializingMs;
    let reply = await call(method, path, body);
    while (reply.status === 429 && Date.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 250));
      reply = await call(method, path, body);
    }
    if (reply.status < 300) return reply.body;
    throw new Error(`${reply.status} ${String(reply.body['message'] ?? reply.body['text'])}`);
  };
  const object = (name: string, value: string) => ({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name },
    data: { value: Buffer.from(value).toString('base64') },
  });
  const valueIn = (body: Record<string, unknown>) =>
    Buffer.from((body['data'] as { value: string }).value, 'base64').toString();
  const items = async () => (await good('GET', secretsPath))['items'] as Record<string, unknown>[];
  return {
    create: (name: string, value: string) => good('POST', secretsPath, object(name, value)),
    read: async (name: string) => valueIn(await good('GET', `${secretsPath}/${name}`)),
    /** Writes it again as it is. */
    rewrite: async (name: string) => good('PUT', `${secretsPath}/${name}`, await good('GET', `${secretsPath}/${name}`)),
    list: async () => (await items()).map(valueIn),
    names: async () => (await items()).map(({ metadata }) => (metadata as { name: string }).name),
  };
};

export const etcdKey = (name: string) => `/registry/secrets/default/${name}`;
