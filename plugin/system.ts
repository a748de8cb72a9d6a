// The real world of the plugin: clocks, random, the channel's descriptor, standard error, /proc/self/status. With main.ts the
// only file here that meets the process or the file system, and all it reads is its own status.

import { randomBytes, randomInt } from 'node:crypto';
import { readFileSync, writeSync } from 'node:fs';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers';
import type { Clock } from '../shared/time/clock.ts';

export const clock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  after: (ms, run) => {
    // Longer waits than a 32-bit timer holds would fire at once.
    const timer = sleep(run, Math.min(ms, 2_147_483_647));
    return () => clearTimeout(timer);
  },
};

const maxRandom = 2 ** 47;

/** Cryptographic, 0 up to but not including 1. */
export function random(): number {
  return randomInt(maxRandom) / maxRandom;
}

export { randomBytes };

/** The socket pair that the supervisor left on descriptor 3. */
export function openChannelStream(): Duplex {
  return new Socket({ fd: 3, readable: true, writable: true });
}

/** Writes a log line to standard error; a line that cannot be written is lost, never an error. */
export function writeLine(line: string): void {
  try {
    writeSync(2, line);
  } catch {
    // Nobody reads: the service goes on.
  }
}

export function readProcStatus(): string {
  return readFileSync('/proc/self/status', 'latin1');
}

export function isPermissionModelOn(): boolean {
  return process.permission !== undefined && !process.permission.has('fs.write');
}

/** Signals are the supervisor's business; the channel says when to stop. */
export function ignoreSignals(): void {
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR2', 'SIGPIPE'] as const) process.on(signal, () => {});
}

export function memoryUsage(): { readonly heapUsedBytes: number; readonly residentBytes: number } {
  const { heapUsed, rss } = process.memoryUsage();
  return { heapUsedBytes: heapUsed, residentBytes: rss };
}
