// Ports that somebody else has are tried again for as long as the process lives, and a plugin that was not given a port which is ours
// by now is replaced by one that is: a descriptor can be handed over at a launch only.

import type { Counters, PortName } from '../../shared/channel/messages.ts';
import type { Log } from '../../shared/log/fields.ts';
import type { Clock } from '../../shared/time/clock.ts';
import { createSpacing } from '../../shared/time/spacing.ts';
import type { BoundTcp } from './bound-handle.ts';

export const portRetryMs = 5_000;
/** Whoever plays with a port makes us replace the plugin no more often, for each of the two reasons. */
export const replaceSpacingMs = 60_000;

export type PortWatchDeps = {
  readonly clock: Pick<Clock, 'after' | 'nowMs'>;
  readonly log: Log;
  readonly counters: Pick<Counters, 'portsTaken'>;
  /** Switched on and not bound by us. */
  readonly taken: () => readonly PortName[];
  /** Undefined: it still is taken. May throw; that is taken too. */
  readonly bind: (name: PortName) => BoundTcp | undefined;
  readonly bound: (name: PortName, port: BoundTcp) => void;
  /** Bound by us, and the plugin was launched without it. */
  readonly unserved: () => readonly PortName[];
  /** Let go by us because it was shut down, and the plugin has it still: nobody can bind it before that one is gone. */
  readonly withheld: () => readonly PortName[];
  readonly countersChanged: () => void;
  /** A plugin with all ports is wanted. */
  readonly replace: () => void;
};

/** Looks at once, then every 5 s. @returns what to call when a port turned out to be taken after all */
export function watchPorts(deps: PortWatchDeps): () => void {
  const mayServe = createSpacing(deps.clock, replaceSpacingMs);
  const mayRelease = createSpacing(deps.clock, replaceSpacingMs);
  const tell = () => {
    const before = deps.counters.portsTaken;
    const now = [...deps.taken()];
    if (now.join() === before.join()) return;
    deps.counters.portsTaken = now;
    for (const name of now.filter((one) => !before.includes(one))) {
      deps.log('warn', 'port.taken', {
        name,
        hint: `another process uses the port of server.${name}Address; find it with ss -ltnp. The port is tried again every 5 s`,
      });
    }
    for (const name of before.filter((one) => !now.includes(one))) deps.log('info', 'port.bound', { name });
    deps.countersChanged();
  };
  const tick = () => {
    for (const name of deps.taken()) {
      const port = tryBind(deps, name);
      if (port !== undefined) deps.bound(name, port);
    }
    tell();
    if (deps.withheld().length > 0 && mayRelease()) deps.replace(); // control: port-watch.release
    if (deps.unserved().length > 0 && mayServe()) deps.replace(); // control: port-watch.again
    deps.clock.after(portRetryMs, tick);
  };
  tell();
  deps.clock.after(portRetryMs, tick);
  return tell;
}

function tryBind({ bind }: PortWatchDeps, name: PortName): BoundTcp | undefined {
  try {
    return bind(name);
  } catch {
    // The address left this host, for now.
    return undefined;
  }
}
