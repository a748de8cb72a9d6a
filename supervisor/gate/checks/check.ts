// What a check of the gate is: a row with what it needs from those before it, a `look` that changes nothing, and, where passing means
// more than looking, a `take`.

import type { Config, ConfigOptions } from '../../../shared/config/config.ts';
import type { Problem } from '../../../shared/config/problem.ts';
import type { Privilege } from '../../../shared/confinement/confinement.ts';
import type { PairVerdict } from '../../../shared/registry/pair.ts';
import type { Clock } from '../../../shared/time/clock.ts';
import type { CredentialCustody, FileNews } from '../../custody/credentials.ts';
import type { Lock } from '../../custody/lock.ts';
import type { PinnedDirectory } from '../../custody/pinned-directory.ts';
import type { SocketFinding, SocketName } from '../../custody/socket.ts';
import type { StateStore } from '../../custody/state-store.ts';
import type { PluginHelpers } from '../../launch/plugin-command.ts';
import { type CheckId, GateRefusal } from '../../refusal.ts';
import type { HelperResult, ProcessIdentity } from '../../system.ts';

export type GateSystem = {
  readonly identity: ProcessIdentity;
  readonly findHelper: (name: string) => string | undefined;
  readonly runHelper: (path: string, args: readonly string[]) => Promise<HelperResult>;
};

export type CallerDeps = GateSystem & {
  /** The command line behind the program's name, to be shown again. */
  readonly words: readonly string[];
};

export type GateDeps = CallerDeps & {
  readonly clock: Clock;
  readonly randomHex: (sizeBytes: number) => string;
  readonly pid: number;
  readonly runHelper: (
    path: string,
    args: readonly string[],
    descriptor?: number,
  ) => Promise<{ readonly exitCode: number | undefined; readonly output: string }>;
  readonly credentialFiles: FileNews;
};

export type Helpers = PluginHelpers & { readonly flock: string; readonly getent: string | undefined };

export type ResolvedIdentity = { readonly socketGid: number; readonly privilege: Privilege };

export type LoadedConfig = {
  readonly config: Config;
  readonly document: unknown;
  readonly warnings: readonly Problem[];
};

/** Whose gate it is: a provider's, a command's that looks at the registry, or a command's that changes it. */
export type Purpose = 'serve' | 'read' | 'change';

/** What the checks find out. */
export type Facts = {
  readonly helpers: Helpers;
  readonly loaded: LoadedConfig;
  readonly credentials: CredentialCustody;
  readonly identity: ResolvedIdentity;
  readonly socket: SocketName;
  readonly stateDirectory: PinnedDirectory;
  /** Of a command only the one that it needs. */
  readonly locks: Readonly<Partial<Record<'state' | 'runtime', Lock>>>;
  readonly store: StateStore;
  readonly pair: PairVerdict;
  readonly socketFinding: SocketFinding;
};

export type FactName = keyof Facts;

export type Visit = {
  readonly configPath: string;
  readonly options: ConfigOptions;
  readonly deps: GateDeps;
  readonly purpose: Purpose;
  /** Keeps what was opened, until the gate refuses or the one who only looks is done. */
  readonly hold: (held: { readonly release: () => void }) => void;
};

type Found<Gives extends FactName> = Pick<Facts, Gives> | Promise<Pick<Facts, Gives>>;

export type GateCheck<Needs extends FactName, Gives extends FactName, Taken extends FactName = never> = {
  /** What holds when it passes. */
  readonly title: string;
  /** Without these it cannot run. */
  readonly needs: readonly Needs[];
  /** What others may need of it. */
  readonly gives: readonly Gives[];
  /** Makes, takes and changes nothing; what it opens it holds. @throws what is wrong */
  readonly look: (facts: Pick<Facts, Needs>, visit: Visit) => Found<Gives>;
  /** Instead of `look` by whoever goes on to serve or to change something. @throws what is wrong */
  readonly take?: (facts: Pick<Facts, Needs>, visit: Visit) => Found<Gives | Taken>;
};

/** Runs one check; whatever it throws becomes its refusal, unless it is the refusal of another check already. */
export async function check<T>(id: CheckId, run: () => T | Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    throw error instanceof GateRefusal ? error : new GateRefusal(id, error);
  }
}

export function lockDepsOf(deps: GateDeps, helpers: Helpers) {
  return {
    uid: deps.identity.uid,
    pid: deps.pid,
    wallMs: deps.clock.wallMs,
    flock: async (descriptor: number) => {
      const { exitCode } = await deps.runHelper(helpers.flock, ['-n', '-x', '3'], descriptor);
      return exitCode;
    },
    isShareable: async (descriptor: number) => {
      const { exitCode } = await deps.runHelper(helpers.flock, ['-n', '-s', '3'], descriptor);
      // A helper that does not run tells nothing; whoever takes the lock says so.
      return exitCode !== 1;
    },
    pause: (ms: number) => new Promise<void>((resolve) => deps.clock.after(ms, resolve)),
  };
}
