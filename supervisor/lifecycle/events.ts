// The words of the plugin's life: states, events, effects, and the numbers. What happens when is in decide.ts.

export type Policy = {
  readonly readyMs: number;
  readonly backoffMs: readonly number[];
  /** Serving this long forgets earlier failures. */
  readonly forgetMs: number;
  readonly drainMs: number;
  readonly killMs: number;
};

export const policy: Policy = {
  readyMs: 20_000,
  backoffMs: [0, 100, 500, 1_000, 2_000, 5_000, 10_000, 30_000],
  forgetMs: 60_000,
  drainMs: 15_000,
  killMs: 17_000,
};

/** `failures` since the last good minute; `hasServed`: some plugin of this supervisor was ready. */
type Carried = { readonly failures: number; readonly hasServed: boolean };
export type State = Carried &
  (
    | { readonly kind: 'gating'; readonly isFirst: boolean; readonly isReloadWanted: boolean }
    | { readonly kind: 'blocked' }
    | { readonly kind: 'waiting'; readonly isReloadWanted: boolean }
    | { readonly kind: 'starting'; readonly isReloadWanted: boolean }
    /** `isPreparing`: the gate is being run for a second plugin. */
    | {
        readonly kind: 'serving';
        readonly sinceMs: number;
        readonly isPreparing: boolean;
        readonly isReloadWanted: boolean;
      }
    | {
        readonly kind: 'replacing';
        readonly sinceMs: number;
        readonly cause: ReplacementCause;
        readonly isReloadWanted: boolean;
      }
    | { readonly kind: 'stopping'; readonly exitCode: number }
    | { readonly kind: 'ended' }
  );

export const restartReasons = [
  'exit',
  'signal',
  'hung',
  'not_ready',
  'violation',
  'confinement',
  'reload',
  'socket_lost',
  'port_bound',
] as const;
export type RestartReason = (typeof restartReasons)[number];
/**
 * Why a plugin that is well is replaced: it was asked for, the socket's name was lost and bound anew, or a port of the diagnostics
 * that was taken is ours now.
 */
export type ReplacementCause = 'reload' | 'socket_lost' | 'port_bound';

export type Event =
  | { readonly kind: 'gate_passed' }
  | { readonly kind: 'gate_refused'; readonly exitCode: number }
  | { readonly kind: 'ready' }
  | { readonly kind: 'exited'; readonly reason: 'exit' | 'signal' }
  /** `exitCode`: what a start ends with that is refused for this. */
  | { readonly kind: 'giving_up'; readonly canRelaunchHelp: boolean; readonly exitCode: number }
  /** The plugin must go: it hangs, broke a rule of the channel, or is not confined. */
  | { readonly kind: 'unfit'; readonly reason: 'hung' | 'violation' | 'confinement' }
  | { readonly kind: 'reload' }
  /** The socket's name is gone or foreign, and its directory is safe. */
  | { readonly kind: 'name_lost' }
  /** A port of the diagnostics is bound that the incumbent was not given. */
  | { readonly kind: 'port_bound' }
  /** The gate passed for a second plugin (after a reload with the configuration read again): it may start. */
  | { readonly kind: 'prepared'; readonly cause: ReplacementCause; readonly readyMs: number }
  /** The gate refused it; nothing changed. */
  | { readonly kind: 'preparation_failed' }
  /** The second plugin is ready, and the state on disk is the one it was started with. */
  | { readonly kind: 'next_ready' }
  /** The second plugin ended, gave up or is unfit. */
  | { readonly kind: 'next_failed' }
  | { readonly kind: 'timer' }
  /** Something that was to be done threw. Whatever else was to be done with it has been tried. */
  | { readonly kind: 'effect_failed' }
  /** A directory is gone for this process, and a new one would find it: make room for it. */
  | { readonly kind: 'depart' }
  | { readonly kind: 'stop' };

export type Effect =
  /** `isReload`: the configuration is read again first. */
  | { readonly kind: 'run_gate'; readonly isFirst: boolean; readonly isReload: boolean }
  | { readonly kind: 'launch' }
  | { readonly kind: 'kill' }
  | { readonly kind: 'drain'; readonly deadlineMs: number }
  | { readonly kind: 'remove_name' }
  | { readonly kind: 'arm'; readonly afterMs: number }
  | { readonly kind: 'disarm' }
  | { readonly kind: 'count'; readonly reason: RestartReason }
  /** Run the gate for a second plugin; answers with `prepared` or `preparation_failed`. */
  | { readonly kind: 'prepare'; readonly cause: ReplacementCause }
  /** What was prepared is not wanted any more: as if it had never been. */
  | { readonly kind: 'drop_prepared' }
  | { readonly kind: 'launch_next' }
  | { readonly kind: 'kill_next' }
  /** The second plugin becomes the incumbent; the first closes its listeners and drains. */
  | { readonly kind: 'hand_over'; readonly deadlineMs: number; readonly killMs: number }
  | { readonly kind: 'replacement_failed'; readonly cause: ReplacementCause }
  /** The start is refused for what the first plugin gave up for. */
  | { readonly kind: 'refuse_start' }
  | { readonly kind: 'end'; readonly exitCode: number };

export type Step = { readonly state: State; readonly effects: readonly Effect[] };

export const firstState: State = {
  kind: 'gating',
  isFirst: true,
  isReloadWanted: false,
  failures: 0,
  hasServed: false,
};
