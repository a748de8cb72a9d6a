// A cold start of a real API server: how long it takes until it lists Secrets that were all sealed under different seeds, beside the same
// start with Secrets that are not encrypted. Each seed is one Decrypt, and the API server asks for one after the other.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Etcd, providerName, startApiServer, startEtcd } from '../support/kubernetes.ts';
import { type KubernetesBinaries, kubernetes } from '../support/kubernetes-binaries.ts';
import type { Provider } from '../support/provider.ts';
import { etcdKey, secretsOf } from '../support/secrets.ts';
import { type Place, withProvider } from './place.ts';
import { sealValue } from './stored.ts';
import { shown, table } from './table.ts';
import type { Figures } from './targets.ts';

const seeds = 2_000;
/** All as long as each other, so that one stored object can become another. */
const nameOf = (index: number) => `seed-${String(index).padStart(5, '0')}`;

type World = {
  readonly binaries: KubernetesBinaries;
  readonly directory: string;
  readonly etcd: Etcd;
  readonly socketPath: string;
};
type Secrets = ReturnType<typeof secretsOf>;

/** Writes with the first provider of `order`, reads with both. */
async function withApiServer<T>(
  { binaries, directory, etcd, socketPath }: World,
  order: readonly ('kms' | 'identity')[],
  use: (secrets: Secrets) => Promise<T>,
): Promise<T> {
  const own = mkdtempSync(join(directory, 'api-server-'));
  const server = await startApiServer({ binaries, directory: own, etcdUrl: etcd.url, socketPath, order });
  return use(secretsOf(server)).finally(server.stop);
}

/** A stored Secret that is not encrypted, made by an API server. */
async function makeTemplate(world: World): Promise<Buffer> {
  await withApiServer(world, ['identity', 'kms'], (secrets) => secrets.create(nameOf(0), 'value'));
  const stored = await world.etcd.get(etcdKey(nameOf(0)));
  if (stored === undefined) throw new Error('the first Secret is not in etcd');
  return stored;
}

/** Puts all Secrets into etcd as `seal` makes them of their plain bytes. */
async function fill(
  { etcd }: World,
  template: Buffer,
  seal: (plaintext: Buffer, key: string) => Promise<Buffer> | Buffer,
): Promise<void> {
  for (let index = 0; index < seeds; index += 1) {
    const key = etcdKey(nameOf(index));
    const text = template.toString('latin1').replaceAll(nameOf(0), nameOf(index));
    await etcd.put(key, await seal(Buffer.from(text, 'latin1'), key));
  }
}

/** From the start of an API server until it has listed them all, milliseconds. */
async function timeStart(world: World): Promise<number> {
  const startedAtMs = performance.now();
  const names = await withApiServer(world, ['kms', 'identity'], async (secrets) => {
    const listed = await secrets.names();
    return { listed, ms: performance.now() - startedAtMs };
  });
  const count = new Set(names.listed).size;
  if (count !== seeds) throw new Error(`${count} Secrets of ${seeds} were listed`);
  return names.ms;
}

async function decryptsOf(provider: Provider): Promise<number> {
  const series = /^openbao_kms_grpc_requests_total\{method="decrypt",status="ok"\} (\d+)$/mu;
  return Number(series.exec(await provider.metrics())?.[1] ?? 0);
}

async function measureIn(world: World, provider: Provider, tell: (what: string) => void): Promise<Figures> {
  const template = await makeTemplate(world);
  await fill(world, template, (plaintext) => plaintext);
  tell('an API server without encrypted Secrets');
  const plainMs = await timeStart(world);
  await fill(world, template, (plaintext, key) => sealValue(provider.client, providerName, plaintext, key));
  const before = await decryptsOf(provider);
  tell(`an API server with ${seeds} seeds`);
  const sealedMs = await timeStart(world);
  const decrypts = (await decryptsOf(provider)) - before;
  return { cold_start_plain_ms: plainMs, cold_start_sealed_ms: sealedMs, cold_start_decrypts: decrypts };
}

/** @returns no figures where there is no API server */
export async function measureColdStart(place: Place, tell: (what: string) => void): Promise<Figures> {
  const binaries = kubernetes();
  if ('missing' in binaries) {
    tell(`NO COLD START: it needs ${binaries.missing}`);
    return {};
  }
  const directory = mkdtempSync(join(tmpdir(), 'bao-kms-cold-'));
  const etcd = await startEtcd(binaries.etcd, directory);
  const world = { binaries, directory, etcd, socketPath: place.workplace.socketPath };
  try {
    return await withProvider(place, (provider) => measureIn(world, provider, tell));
  } finally {
    await etcd.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

export function coldStartTable(figures: Figures): string[] {
  const row = (title: string, ms: string, decrypts: number | undefined) => [
    title,
    shown(figures[ms], 0),
    shown(decrypts, 0),
  ];
  return table(
    ['cold start of an API server', 'until all are listed, ms', 'Decrypts'],
    [
      row(`${seeds} Secrets, not encrypted`, 'cold_start_plain_ms', undefined),
      row(`${seeds} Secrets, each under a seed of its own`, 'cold_start_sealed_ms', figures['cold_start_decrypts']),
    ],
  );
}
