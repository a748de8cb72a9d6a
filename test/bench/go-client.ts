// The Go client as a child: built when it is first asked for, told what to do line by line, ended with its input.

import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { end } from '../support/child.ts';
import { buildGoTool, type GoTool, goCache, pathOf } from '../support/go-tool.ts';
import { root } from '../support/workplace.ts';
import type { Addresses, LoadClient, Measured } from './load.ts';

const tool: GoTool = {
  cwd: join(root, 'test/bench/client'),
  packagePath: '.',
  name: 'bench-client',
  directory: join(goCache, 'bench'),
  flags: [],
  calmMs: 120_000,
};

/** @returns its path, or what is missing for it. @throws Error when it does not build */
export function buildGoClient(): { readonly path: string } | { readonly missing: string } {
  const missing = buildGoTool(tool);
  if (missing === undefined) return { path: pathOf(tool) };
  return { missing: missing === 'Go' ? 'Go' : 'a current Go and the modules google.golang.org/grpc and k8s.io/kms' };
}

type Answer = { readonly event: string; readonly why?: string };

/** Starts the client that `buildGoClient` has built. */
export function startGoClient(path: string, addresses: Addresses): LoadClient {
  const { socketPath, address, caPath, mountPath, keyName, token } = addresses;
  const flags = ['-socket', socketPath, '-openbao', address, '-ca', caPath, '-mount', mountPath, '-key', keyName];
  // Without a proxy of this machine: what is asked for is here.
  const child = spawn(path, flags, { stdio: ['pipe', 'pipe', 'inherit'], env: { BAO_TOKEN: token } });
  const waiting: { readonly event: string; readonly heard: (answer: Answer) => void; readonly failed: Fail }[] = [];
  const fail = (why: string) => {
    for (const { failed } of waiting.splice(0)) failed(new Error(`bench-client: ${why}`));
  };
  child.once('exit', (code, signal) => fail(`ended with ${code ?? signal}`));
  createInterface({ input: child.stdout }).on('line', (line) => {
    const answer = JSON.parse(line) as Answer;
    if (answer.event === 'refused') return fail(answer.why ?? 'refused');
    if (waiting[0]?.event === answer.event) waiting.shift()?.heard(answer);
  });
  const hear = (event: string) =>
    new Promise<Answer>((heard, failed) => {
      waiting.push({ event, heard, failed });
    });
  const tell = (order: object) => void child.stdin.write(`${JSON.stringify(order)}\n`);
  return {
    kind: 'grpc-go',
    prepare: async (count) => {
      tell({ do: 'prepare', count });
      await hear('prepared');
    },
    measure: (plan) => {
      tell({ do: 'measure', ...plan });
      const begun = hear('begun').then(() => undefined);
      const measured = hear('measured').then((answer) => answer as unknown as Measured);
      // Whoever waits for one of them hears of a failure there.
      for (const promise of [begun, measured]) promise.catch(() => undefined);
      return { begun, measured, stop: () => tell({ do: 'stop' }) };
    },
    first: async (wanted) => {
      tell({ do: 'first', wanted });
      await hear('first');
    },
    close: () => end(child),
  };
}

type Fail = (error: Error) => void;
