// All bounds of the plugin filled at once, for `FLOOD_SECONDS` (60): strangers at the socket and at the diagnostics, an OpenBao that
// takes its time, and beside them the calls of an API server on a connection of their own. None of these fails.

import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DecryptRequest } from '../../plugin/kms/generated/kms/v2/api.ts';
import type { FloodPlan } from '../support/flood.ts';
import { withInstallation } from '../support/installation.ts';
import { type Provider, type Sealed, untilSealed } from '../support/provider.ts';

const seconds = Number(process.env['FLOOD_SECONDS'] ?? 60);
/** `socket` leaves the diagnostics alone. */
const parts = (process.env['FLOOD_PARTS'] ?? 'socket,diagnostics').split(',');
/** Of an Encrypt or a Decrypt, milliseconds: a slow one, with 32 connections some 200 a second. */
const slowMs = 150;
/** Of an API server's call, unless its configuration names another; also with every core busy (measured: about 1 s). */
const deadlineMs = 3_000;
/** Measured 150 to 200 MB at its highest; the heap of 64 MB is a part of it. */
const maxResidentMb = 256;

/** The most that it has had until now; not a number when it has ended. */
function residentMb(pid: number): number {
  try {
    return Number(/^VmHWM:\s+(\d+)/mu.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1_024;
  } catch {
    return Number.NaN;
  }
}

function startFlood(plan: FloodPlan): ChildProcess {
  const script = new URL('../support/flood.ts', import.meta.url).pathname;
  return spawn(process.execPath, ['--no-warnings', script, JSON.stringify(plan)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

/** Calls one after the other, each method on its own, as long as it is told; their durations and what went wrong. */
async function callHonestly({ client }: Provider, sealed: Sealed, isOver: () => boolean) {
  const durationsMs: number[] = [];
  const failures: string[] = [];
  const methods = {
    status: async () => assert.is((await client.status()).healthz, 'ok'),
    encrypt: async () => assert.is((await client.encrypt(randomBytes(32))).keyId, sealed.keyId),
    decrypt: async () => assert.is((await client.decrypt(sealed)).plaintext.length, 32),
  };
  const workers = Object.entries(methods).map(async ([name, call]) => {
    while (!isOver()) {
      const startedAtMs = performance.now();
      await call().catch((error: Error) => failures.push(`${name}: ${error.message}`));
      durationsMs.push(performance.now() - startedAtMs);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  });
  await Promise.all(workers);
  return { durationsMs: durationsMs.sort((one, other) => one - other), failures };
}

async function addressOf(provider: Provider, name: 'metrics_address' | 'health_address'): Promise<string> {
  return String((await provider.event('serve.start'))[name]);
}

test(`${seconds} s of every flood at once: no honest call fails, no plugin ends, and its memory stays below its limit`, () =>
  withInstallation(
    async ({ start, bao, workplace }) => {
      const provider = start();
      const sealed = await untilSealed(provider);
      const decryptHex = Buffer.from(DecryptRequest.encode({ ...sealed, uid: 'stranger' }).finish()).toString('hex');
      bao.fault = async ({ path }) => {
        if (/(?:en|de)crypt/u.test(path)) await new Promise((resolve) => setTimeout(resolve, slowMs));
        return undefined;
      };
      const diagnostics = parts.includes('diagnostics') && {
        metricsAddress: await addressOf(provider, 'metrics_address'),
        healthAddress: await addressOf(provider, 'health_address'),
      };
      const flood = startFlood({ socketPath: workplace.socketPath, decryptHex, ...diagnostics });
      let sent = '';
      flood.stdout?.on('data', (chunk: Buffer) => {
        sent = chunk.toString('utf8').trim().split('\n').at(-1) ?? sent;
      });
      try {
        const pid = provider.pluginPid();
        const endsAtMs = performance.now() + seconds * 1_000;
        const isOver = () => performance.now() >= endsAtMs;
        const { durationsMs, failures } = await callHonestly(provider, sealed, isOver);
        const p99Ms = durationsMs[Math.floor(durationsMs.length * 0.99)] ?? Number.NaN;
        const highestMb = residentMb(pid);
        flood.kill('SIGKILL');
        const said = provider.log.filter(({ message }) => message === 'bound.reached').map((line) => line['name']);
        console.log(
          `# ${durationsMs.length} honest calls, p99 ${Math.round(p99Ms)} ms, ${Math.round(highestMb)} MB; sent ${sent}; ${[...new Set(said)].join(' ')}`,
        );
        assert.equal(failures, []);
        assert.equal(
          provider.log.filter(({ message }) => message === 'plugin.exited'),
          [],
        );
        assert.ok(p99Ms < deadlineMs, `p99 of ${p99Ms} ms`);
        assert.ok(highestMb < maxResidentMb, `${highestMb} MB resident`);
        for (const bound of ['connections', 'half_open_bytes', 'slot_yielded', 'retained_bytes']) {
          assert.ok(said.includes(bound), `${bound} was reached`);
        }
      } finally {
        flood.kill('SIGKILL');
        bao.fault = undefined;
      }
    },
    {
      change: (config) => {
        // The load of the flood may hold a probe up: what it proves is fresh for a minute, as in production.
        config['status'] = { probeInterval: '5s', deepProbeInterval: '30s', statusMaxStaleness: '60s' };
      },
    },
  ));

test.run();
