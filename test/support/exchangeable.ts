// A healthy provider whose next plugin can be chosen: hostile in a certain way, or good again.

import { readFileSync } from 'node:fs';
import { createExchangeableDistribution } from './hostile-distribution.ts';
import { type Installed, install } from './installation.ts';
import { type Provider, untilHealthy } from './provider.ts';

export type Exchangeable = {
  readonly installed: Installed;
  readonly provider: Provider;
  readonly turnHostile: (trial: string) => Promise<void>;
  readonly turnGood: () => void;
};

export async function withExchangeable(run: (world: Exchangeable) => Promise<void>): Promise<void> {
  const distribution = createExchangeableDistribution();
  const installed = await install({ distribution: distribution.directory });
  try {
    const { workplace } = installed;
    const provider = installed.start();
    await untilHealthy(provider);
    const paths = { state: workplace.statePath, jwt: workplace.jwtPath, run: `${workplace.directory}/run` };
    const turnHostile = async (trial: string) => {
      await distribution.turnHostile(trial, paths);
      process.kill(provider.pluginPid(), 'SIGKILL');
    };
    await run({ installed, provider, turnHostile, turnGood: distribution.turnGood });
  } finally {
    await installed.close();
    distribution.remove();
  }
}

/** Memory of a process, MB. */
export function residentMb(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/mu.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;
}
