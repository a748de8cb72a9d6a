// An OpenBao as a process of its own: the embedded development server, or a real `bao` in development mode, found by BAO_BIN
// or on the path and never built here.

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { firstExecutable, onPath } from '../executable.ts';

export type OpenBaoProcess = {
  readonly address: string;
  readonly rootToken: string;
  readonly unsealKey: string;
  readonly ca: string;
  readonly version: string;
  readonly isReal: boolean;
  readonly child: ChildProcess;
  readonly stop: () => Promise<void>;
};

/** The real `bao`, if there is one. */
export function findBao(): string | undefined {
  const named = process.env['BAO_BIN'];
  return firstExecutable(named ? [named] : onPath('bao'));
}

export async function startOpenBao(isReal = false): Promise<OpenBaoProcess> {
  if (!isReal) return startEmbedded();
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
  return { address, rootToken, unsealKey: 'any', ca, version, isReal: false, child, stop: () => end(child) };
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

const startTimeoutMs = 20_000;

async function startReal(bao: string): Promise<OpenBaoProcess> {
  const directory = mkdtempSync(join(tmpdir(), 'bao-dev-'));
  const rootToken = 'root-of-a-throw-away-server';
  const address = `127.0.0.1:${await freePort()}`;
  const flags = ['-dev', '-dev-tls', `-dev-tls-cert-dir=${directory}`, '-dev-no-store-token'];
  const child = spawn(bao, ['server', ...flags, `-dev-root-token-id=${rootToken}`, `-dev-listen-address=${address}`], {
    stdio: ['ignore', 'pipe', 'ignore'],
    env: { HOME: directory, PATH: process.env['PATH'] ?? '' },
  });
  let told = '';
  child.stdout.on('data', (chunk: Buffer) => {
    told = `${told}${chunk.toString('utf8')}`.slice(-100_000);
  });
  const stop = async () => {
    await end(child);
    rmSync(directory, { recursive: true, force: true });
  };
  const ca = await untilCa(directory, child);
  await untilUp(`https://${address}/v1/sys/health`, ca, child);
  const unsealKey = /^Unseal Key: (\S+)$/mu.exec(told)?.[1] ?? '';
  return { address: `https://${address}`, rootToken, unsealKey, ca, version: 'real', isReal: true, child, stop };
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' ? (address?.port ?? 0) : 0));
    });
  });
}

async function untilCa(directory: string, child: ChildProcess): Promise<string> {
  const deadline = Date.now() + startTimeoutMs;
  while (Date.now() < deadline && child.exitCode === null) {
    const name = readdirSync(directory).find((entry) => /ca.*\.pem$/u.test(entry));
    if (name !== undefined) return readFileSync(join(directory, name), 'utf8');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('the real OpenBao did not start');
}

async function untilUp(url: string, ca: string, child: ChildProcess): Promise<void> {
  const { Agent, request } = await import('undici');
  const dispatcher = new Agent({ connect: { ca, servername: 'localhost' }, allowH2: false });
  const deadline = Date.now() + startTimeoutMs;
  while (Date.now() < deadline && child.exitCode === null) {
    const reply = await request(url, { dispatcher }).catch(() => undefined);
    await reply?.body.dump();
    if (reply?.statusCode === 200) return dispatcher.close();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('the real OpenBao did not come up');
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await exited;
}
