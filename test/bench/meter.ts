// What the kernel says of a process: CPU time to the nanosecond, memory with what it shares divided among those who share it.

import { readdirSync, readFileSync } from 'node:fs';

export type Pids = { readonly supervisor: number; readonly plugin: number };
export type Pair = { readonly supervisor: number; readonly plugin: number };

/** CPU time of all threads of a process, microseconds. Threads that have ended are not in it; ours live as long as their process. */
function cpuUs(pid: number): number {
  const threads = readdirSync(`/proc/${pid}/task`);
  const ns = threads.map((thread) =>
    Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]),
  );
  return ns.reduce((sum, one) => sum + one, 0) / 1_000;
}

/** Proportional set size of a process, MB of 1 048 576 bytes. */
function pssMb(pid: number): number {
  const [, kilobytes] = /^Pss:\s+(\d+)/mu.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8')) ?? [];
  return Number(kilobytes) / 1024;
}

const ofBoth = (pids: Pids, read: (pid: number) => number): Pair => ({
  supervisor: read(pids.supervisor),
  plugin: read(pids.plugin),
});

/** Starts a meter. @returns a function that tells how much CPU time each process took since then, microseconds */
export function meterCpu(pids: Pids): () => Pair {
  const before = ofBoth(pids, cpuUs);
  return () => {
    const now = ofBoth(pids, cpuUs);
    return { supervisor: now.supervisor - before.supervisor, plugin: now.plugin - before.plugin };
  };
}

/** PSS of each process, MB. */
export const memoryOf = (pids: Pids): Pair => ofBoth(pids, pssMb);

export const sumOf = ({ supervisor, plugin }: Pair): number => supervisor + plugin;
