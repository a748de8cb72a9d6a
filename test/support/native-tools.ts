// Test tools in C: what an attacker does in machine code. Built once a process, where a compiler is there.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from './workplace.ts';

/** Whether tools can be built and used here. */
export const hasNativeTools = process.geteuid?.() === 0 && existsSync('/usr/bin/cc');

let directory: string | undefined;

/** Shuts a socket down that another process holds, and everybody it shares it with. */
export function shutDownDescriptor(pid: number, descriptor: number): void {
  const { status, stderr } = spawnSync(build('shutdown-descriptor'), [String(pid), String(descriptor)]);
  if (status !== 0) throw new Error(`shutdown-descriptor: ${stderr.toString()}`);
}

/** Puts a filter on a TCP listener that another process holds. `deaf`: nothing passes; `mute`: handshakes do, requests do not. */
export function filterDescriptor(pid: number, descriptor: number, kind: 'deaf' | 'mute'): void {
  const { status, stderr } = spawnSync(build('filter-descriptor'), [String(pid), String(descriptor), kind]);
  if (status !== 0) throw new Error(`filter-descriptor: ${stderr.toString()}`);
}

function build(name: string): string {
  if (directory === undefined) {
    directory = mkdtempSync(join(tmpdir(), 'bao-kms-native-'));
    const made = directory;
    process.once('exit', () => rmSync(made, { recursive: true, force: true }));
  }
  const target = join(directory, name);
  if (existsSync(target)) return target;
  const source = join(root, 'test/support/native', `${name}.c`);
  const { status, stderr } = spawnSync('/usr/bin/cc', ['-O1', '-o', target, source]);
  if (status !== 0) throw new Error(`${name} does not build: ${stderr.toString()}`);
  return target;
}
