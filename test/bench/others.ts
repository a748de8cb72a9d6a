// How much of the machine others took while it was measured, so that a run says whether it can be believed.

import { readdirSync, readFileSync } from 'node:fs';

type Usage = { readonly allTicks: number; readonly busyTicks: number; readonly ownTicks: number };

const sum = (numbers: readonly number[]) => numbers.reduce((total, number) => total + number, 0);

/** Process, parent, and CPU time with that of the children it has seen the end of, ticks. */
function processes(): readonly { readonly pid: number; readonly parent: number; readonly ticks: number }[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/u.test(name));
  return pids.flatMap((pid) => {
    try {
      // The name, in brackets, may hold anything.
      const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
      const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
      return [{ pid: Number(pid), parent: Number(fields[1]), ticks: sum(fields.slice(11, 15).map(Number)) }];
    } catch {
      // It has ended meanwhile.
      return [];
    }
  });
}

/** CPU time of this process and of all that descend from it, ticks. */
function ownTicks(): number {
  const all = processes();
  const own = new Set([process.pid]);
  for (let before = 0; before !== own.size; ) {
    before = own.size;
    for (const { pid, parent } of all) if (own.has(parent)) own.add(pid);
  }
  return sum(all.filter(({ pid }) => own.has(pid)).map(({ ticks }) => ticks));
}

function readUsage(): Usage {
  const [line = ''] = readFileSync('/proc/stat', 'utf8').split('\n');
  // User, nice, system, idle, waiting, interrupts twice, stolen by the hypervisor; what guests use is in the first two.
  const ticks = line.trim().split(/\s+/u).slice(1, 9).map(Number);
  const allTicks = sum(ticks);
  return { allTicks, busyTicks: allTicks - (ticks[3] ?? 0) - (ticks[4] ?? 0), ownTicks: ownTicks() };
}

/** Starts to look. @returns a function that tells which share of all cores others have taken since then, 0 to 1 */
export function watchOthers(): () => number {
  const before = readUsage();
  return () => {
    const now = readUsage();
    const others = now.busyTicks - before.busyTicks - (now.ownTicks - before.ownTicks);
    return Math.max(0, others) / (now.allTicks - before.allTicks);
  };
}
