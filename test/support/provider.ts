// A running provider: the real `serve` in its own processes, its log as it comes, and what a test wants to know of it.

import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { request } from 'node:http';
import { sharedTextMs } from '../../plugin/telemetry/endpoints.ts';
import { createKmsClient, type KmsClient } from './kms-client.ts';
import { limitOf, until } from './patience.ts';
import type { Workplace } from './workplace.ts';

export type LogLine = Record<string, unknown> & {
  readonly message: string;
  readonly process: string;
  readonly level: string;
};

export type Sealed = Awaited<ReturnType<KmsClient['encrypt']>>;

export type Provider = {
  readonly child: ChildProcess;
  readonly client: KmsClient;
  readonly log: LogLine[];
  /** Everything that was written to standard error, unparsed. */
  readonly text: () => string;
  /** Waits for a line that fits; looks at what was there already too. `calmMs`: how long that takes on a calm machine. */
  readonly line: (fits: (line: LogLine) => boolean, calmMs?: number) => Promise<LogLine>;
  readonly event: (message: string, calmMs?: number) => Promise<LogLine>;
  readonly pluginPid: () => number;
  readonly ready: () => Promise<{ readonly status: number; readonly body: Record<string, unknown> }>;
  readonly live: () => Promise<number>;
  readonly metrics: () => Promise<string>;
  readonly exited: Promise<number | null>;
  /** SIGTERM, then waits for the end. */
  readonly stop: () => Promise<number | null>;
};

/** Both processes, a login and the first probes, once more after a try that failed. */
const usualMs = 20_000;

/** Starts `serve --development` in the workplace's directory. */
export function startProvider(
  workplace: Workplace,
  args: readonly string[] = [],
  wrap: readonly string[] = [],
): Provider {
  const words = workplace.command('serve', '--config', workplace.configPath, '--development', ...args);
  const [command = '', ...rest] = [...wrap, ...words];
  const child = spawn(command, rest, { cwd: workplace.directory, stdio: ['ignore', 'ignore', 'pipe'], env: {} });
  const log: LogLine[] = [];
  const watchers = new Set<() => void>();
  let text = '';
  let rest0 = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    text += chunk.toString('utf8');
    rest0 += chunk.toString('utf8');
    const lines = rest0.split('\n');
    rest0 = lines.pop() ?? '';
    for (const line of lines) log.push(parseLine(line));
    for (const look of watchers) look();
  });
  const exited = new Promise<number | null>((resolve) => {
    child.once('close', (code) => {
      resolve(code);
      for (const look of watchers) look();
    });
  });
  const line = (fits: (line: LogLine) => boolean, calmMs = usualMs) =>
    new Promise<LogLine>((resolve, reject) => {
      const settle = (act: () => void) => {
        clearTimeout(timer);
        watchers.delete(look);
        act();
      };
      const look = () => {
        const found = log.find(fits);
        if (found !== undefined) settle(() => resolve(found));
        else if (child.exitCode !== null)
          settle(() => reject(new Error(`the provider ended (${child.exitCode}):\n${text}`)));
      };
      const timer = setTimeout(
        () => settle(() => reject(new Error(`no such line in ${limitOf(calmMs)} ms:\n${text}`))),
        limitOf(calmMs),
      );
      watchers.add(look);
      look();
    });
  const event = (message: string, calmMs?: number) => line((one) => one.message === message, calmMs);
  const client = createKmsClient(workplace.socketPath);
  let scrapedAtMs = Number.NEGATIVE_INFINITY;
  const address = async (name: 'health_address' | 'metrics_address') => String((await event('serve.start'))[name]);
  return {
    child,
    client,
    log,
    text: () => text,
    line,
    event,
    pluginPid: () => Number(log.findLast((one) => one.message === 'plugin.started')?.['pid']),
    ready: async () => {
      const { status, body } = await get(`http://${await address('health_address')}/ready`);
      return { status, body: JSON.parse(body) };
    },
    live: async () => (await get(`http://${await address('health_address')}/live`)).status,
    metrics: async () => {
      // One text serves everybody who asks within a second: a test wants what is so now.
      await new Promise((resolve) => setTimeout(resolve, scrapedAtMs + sharedTextMs - performance.now()));
      const { body } = await get(`http://${await address('metrics_address')}/metrics`);
      scrapedAtMs = performance.now();
      return body;
    },
    exited,
    stop: async () => {
      client.close();
      if (child.exitCode === null) child.kill('SIGTERM');
      return exited;
    },
  };
}

function parseLine(line: string): LogLine {
  try {
    return JSON.parse(line) as LogLine;
  } catch {
    return { message: 'unparsed', process: '', level: '', text: line };
  }
}

function get(url: string): Promise<{ readonly status: number; readonly body: string }> {
  return new Promise((resolve, reject) => {
    const call = request(url, { agent: false, timeout: limitOf(5_000) }, (response) => {
      let body = '';
      response.on('data', (chunk: Buffer) => {
        body += chunk.toString('utf8');
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
    });
    call.on('timeout', () => call.destroy(new Error('no answer')));
    call.on('error', reject);
    call.end();
  });
}

/** Waits until Status answers `ok`. @returns its key_id */
export async function untilHealthy(provider: Pick<Provider, 'client' | 'text'>, calmMs = usualMs): Promise<string> {
  let keyId: string | undefined;
  const isHealthy = async () => {
    const status = await provider.client.status().catch(() => undefined);
    keyId = status?.healthz === 'ok' ? status.keyId : undefined;
    return keyId !== undefined;
  };
  await until(isHealthy, 'a healthy Status', calmMs, 50).catch((error: Error) => {
    throw new Error(`${error.message}\n${provider.text()}`);
  });
  return keyId ?? '';
}

/**
 * Encrypts a seed as soon as that is served. With the short ages of tests a busy machine may be unhealthy for a moment between a good
 * Status and the call after it.
 */
export async function untilSealed(provider: Pick<Provider, 'client' | 'text'>): Promise<Sealed> {
  let sealed: Sealed | undefined;
  const isServed = async () => {
    await untilHealthy(provider);
    sealed = await provider.client.encrypt(randomBytes(32)).catch(() => undefined);
    return sealed !== undefined;
  };
  await until(isServed, 'an Encrypt');
  if (sealed === undefined) throw new Error('nothing was sealed');
  return sealed;
}
