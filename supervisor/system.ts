// The real world of the supervisor: clocks, random, identity, helpers. With custody/ and main.ts the only files here that meet
// the process, the file system or execa.

import { randomBytes, randomInt } from 'node:crypto';
import { accessSync, closeSync, constants, readdirSync, readFileSync, writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers';
import { execa } from 'execa';
import type { Clock } from '../shared/time/clock.ts';

export const clock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  after: (ms, run) => {
    const timer = sleep(run, Math.min(ms, 2_147_483_647));
    return () => clearTimeout(timer);
  },
};

/** Cryptographic, 0 up to but not including 1. */
export function random(): number {
  return randomInt(2 ** 47) / 2 ** 47;
}

/** Lower-case hexadecimal digits, two for each byte. */
export function randomHex(sizeBytes: number): string {
  return randomBytes(sizeBytes).toString('hex');
}

/** Writes a log line to standard error; a line that cannot be written is lost, never an error. */
export function writeLine(line: string): void {
  try {
    writeSync(2, line);
  } catch {
    // Nobody reads: custody goes on.
  }
}

/**
 * Closes every descriptor that we were started with beyond the three standard ones. Those of the runtime itself are marked to be closed
 * at an exec; whatever is not came from outside, and would go on to a plugin.
 */
export function closeInherited(): void {
  for (const name of readdirSync('/proc/self/fd')) {
    const descriptor = Number(name);
    if (descriptor > 2 && isInherited(descriptor)) closeSync(descriptor);
  }
}

const closeOnExec = 0o2000000;

function isInherited(descriptor: number): boolean {
  try {
    const [, flags = ''] =
      /^flags:\s*([0-7]+)$/mu.exec(readFileSync(`/proc/self/fdinfo/${descriptor}`, 'latin1')) ?? [];
    return (Number.parseInt(flags, 8) & closeOnExec) === 0;
  } catch {
    // The one that the list was read with.
    return false;
  }
}

export type ProcessIdentity = { readonly uid: number; readonly gids: readonly number[]; readonly nodeMajor: number };

export function processIdentity(): ProcessIdentity {
  const gids = new Set([process.getegid?.() ?? -1, ...(process.getgroups?.() ?? [])]);
  return { uid: process.geteuid?.() ?? -1, gids: [...gids], nodeMajor: Number(process.versions.node.split('.')[0]) };
}

const helperDirectories = ['/usr/bin', '/bin', '/usr/sbin', '/sbin'];

/** The absolute path of a helper; undefined when it is not installed. Never looked up by a PATH from outside. */
export function findHelper(name: string): string | undefined {
  return helperDirectories.map((directory) => `${directory}/${name}`).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

export type HelperResult = { readonly exitCode: number | undefined; readonly output: string };

const helperTimeoutMs = 10_000;
const maxOutputBytes = 64 * 1024;

/**
 * Runs a helper to its end without a shell and without our environment. Never throws; what it wrote to standard error is
 * not looked at.
 *
 * @param descriptor  inherited as descriptor 3
 * @param environment  all that the helper gets
 */
export async function runHelper(
  path: string,
  args: readonly string[],
  descriptor?: number,
  environment: Readonly<Record<string, string>> = {},
): Promise<HelperResult> {
  const stdio = ['ignore', 'pipe', 'ignore', ...(descriptor === undefined ? [] : [descriptor])];
  const result = await execa(path, [...args], {
    stdio: stdio as ['ignore', 'pipe', 'ignore'],
    env: environment,
    extendEnv: false,
    reject: false,
    timeout: helperTimeoutMs,
    maxBuffer: maxOutputBytes,
    cwd: '/',
  });
  return { exitCode: result.exitCode, output: typeof result.stdout === 'string' ? result.stdout : '' };
}

export type SystemdSocket = {
  readonly send: (assignments: readonly string[]) => Promise<void>;
  readonly watchdogMs: number | undefined;
};

/** The way to systemd, if it started us and its helper is installed. */
export function findSystemd(environment: Readonly<Record<string, string | undefined>>): SystemdSocket | undefined {
  const socket = environment['NOTIFY_SOCKET'];
  const helper = findHelper('systemd-notify');
  if (socket === undefined || socket === '' || helper === undefined) return undefined;
  const watchdogUs = Number(environment['WATCHDOG_USEC'] ?? 0);
  return {
    // Waited for: with --no-block systemd may not find out any more who spoke.
    send: async (assignments) => void (await runHelper(helper, [...assignments], undefined, { NOTIFY_SOCKET: socket })),
    watchdogMs: watchdogUs > 0 ? watchdogUs / 1000 : undefined,
  };
}

/** CLOCK_MONOTONIC in microseconds, as systemd compares it. */
export function monotonicUs(): number {
  return Number(process.hrtime.bigint() / 1000n);
}
