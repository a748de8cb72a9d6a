// A kube-apiserver as our client, without the rest of it: its own library, built with the machine's Go from its modules, keeps
// seeds, polls Status and calls us as the API server of that version does. No server is built here.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from './workplace.ts';

export type Stored = { readonly name: string; readonly bytes: Buffer };
export type Read = { readonly data: Buffer; readonly isStale: boolean };

export type EnvelopeClient = {
  /** As an object goes to etcd. */
  readonly write: (name: string, data: Buffer) => Promise<Stored>;
  /** As an object comes from etcd. */
  readonly read: (stored: Stored) => Promise<Read>;
  /** What `/healthz/kms-providers` says; it also lets a new Status be asked for, at most every 20 s while well. */
  readonly healthz: () => Promise<string>;
  readonly stop: () => Promise<void>;
};

const buildTimeoutMs = 540_000;

/** The program, built once; undefined, with the reason, where it cannot be. */
export function buildEnvelopeClient(): { readonly binary: string } | { readonly missing: string } {
  if (spawnSync('go', ['version']).status !== 0) return { missing: 'go' };
  const binary = join(mkdtempSync(join(tmpdir(), 'envelope-client-')), 'envelope-client');
  const cwd = join(root, 'test/support/envelope-client');
  const { status } = spawnSync('go', ['build', '-trimpath', '-mod=readonly', '-o', binary, '.'], {
    cwd,
    stdio: 'ignore',
    timeout: buildTimeoutMs,
  });
  return status === 0 ? { binary } : { missing: 'the Go modules of the API server’s library' };
}

export type EnvelopeOptions = { readonly binary: string; readonly socketPath: string; readonly providerName: string };

/** Starts one; it is up when the library has loaded the configuration. */
export function startEnvelopeClient({ binary, socketPath, providerName }: EnvelopeOptions): EnvelopeClient {
  const directory = mkdtempSync(join(tmpdir(), 'bao-kms-envelope-'));
  const configPath = join(directory, 'encryption.yaml');
  const kms = { apiVersion: 'v2', name: providerName, endpoint: `unix://${socketPath}`, timeout: '3s' };
  writeFileSync(
    configPath,
    JSON.stringify({
      apiVersion: 'apiserver.config.k8s.io/v1',
      kind: 'EncryptionConfiguration',
      resources: [{ resources: ['secrets'], providers: [{ kms }, { identity: {} }] }],
    }),
  );
  const child = spawn(binary, [configPath], { stdio: ['pipe', 'pipe', 'ignore'] });
  const ask = createQuestions(child);
  return {
    write: async (name, data) => {
      const { stored } = await ask({ op: 'write', name, data: data.toString('base64') });
      return { name, bytes: Buffer.from(String(stored), 'base64') };
    },
    read: async ({ name, bytes }) => {
      const { data, stale } = await ask({ op: 'read', name, stored: bytes.toString('base64') });
      return { data: Buffer.from(String(data ?? ''), 'base64'), isStale: stale === true };
    },
    healthz: () =>
      ask({ op: 'healthz' }).then(
        () => 'ok',
        (error: unknown) => (error as Error).message,
      ),
    stop: async () => {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.stdin.end();
      child.kill('SIGTERM');
      await ended;
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

type Answer = { readonly id: number; readonly error?: string } & Readonly<Record<string, unknown>>;

function createQuestions(child: ChildProcess) {
  const waiting = new Map<number, PromiseWithResolvers<Answer>>();
  let last = 0;
  let rest = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    const lines = (rest + chunk.toString('utf8')).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const answer = JSON.parse(line) as Answer;
      const one = waiting.get(answer.id);
      waiting.delete(answer.id);
      if (answer.error === undefined) one?.resolve(answer);
      else one?.reject(new Error(answer.error));
    }
  });
  child.once('exit', () => {
    for (const one of waiting.values()) one.reject(new Error('the client ended'));
  });
  return (question: Readonly<Record<string, string>>): Promise<Answer> => {
    last += 1;
    const one = Promise.withResolvers<Answer>();
    waiting.set(last, one);
    child.stdin?.write(`${JSON.stringify({ id: last, ...question })}\n`);
    return one.promise;
  };
}
