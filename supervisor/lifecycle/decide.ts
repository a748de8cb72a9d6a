// The life of the plugin, as one pure machine: what is done when what happens. Whoever wants to know "what if X happens
// while Y" finds one line here. It does not wait, log, read a clock or roll dice.

import { jitterMs } from '../../shared/time/backoff.ts';

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
    | { readonly kind: 'gating'; readonly isFirst: boolean }
    | { readonly kind: 'blocked' }
    | { readonly kind: 'waiting' }
    | { readonly kind: 'starting'; readonly isReloadWanted: boolean }
    | { readonly kind: 'serving'; readonly sinceMs: number }
    | { readonly kind: 'replacing'; readonly sinceMs: number; readonly isReloadWanted: boolean }
    | { readonly kind: 'stopping' }
    | { readonly kind: 'ended' }
  );

export const restartReasons = ['exit', 'signal', 'hung', 'not_ready', 'violation', 'confinement', 'reload'] as const;
export type RestartReason = (typeof restartReasons)[number];

export type Event =
  | { readonly kind: 'gate_passed' }
  | { readonly kind: 'gate_refused'; readonly exitCode: number }
  | { readonly kind: 'ready' }
  | { readonly kind: 'exited'; readonly reason: 'exit' | 'signal' }
  | { readonly kind: 'giving_up'; readonly canRelaunchHelp: boolean }
  /** The plugin must go: it hangs, broke a rule of the channel, or is not confined. */
  | { readonly kind: 'unfit'; readonly reason: 'hung' | 'violation' | 'confinement' }
  | { readonly kind: 'reload' }
  /** The new configuration was read and the gate passed: a second plugin may start. */
  | { readonly kind: 'reload_passed'; readonly readyMs: number }
  /** The second plugin is ready, and the state on disk is the one it was started with. */
  | { readonly kind: 'next_ready' }
  /** The second plugin ended, gave up or is unfit. */
  | { readonly kind: 'next_failed' }
  | { readonly kind: 'timer' }
  | { readonly kind: 'stop' };

export type Effect =
  | { readonly kind: 'run_gate'; readonly isFirst: boolean }
  | { readonly kind: 'launch' }
  | { readonly kind: 'kill' }
  | { readonly kind: 'drain'; readonly deadlineMs: number }
  | { readonly kind: 'remove_name' }
  | { readonly kind: 'arm'; readonly afterMs: number }
  | { readonly kind: 'disarm' }
  | { readonly kind: 'count'; readonly reason: RestartReason }
  /** Read the configuration again and run the gate; answers with `reload_passed`, or with nothing. */
  | { readonly kind: 'prepare_reload' }
  | { readonly kind: 'launch_next' }
  | { readonly kind: 'kill_next' }
  /** The second plugin takes office; the first closes its listeners and drains. */
  | { readonly kind: 'hand_over'; readonly deadlineMs: number; readonly killMs: number }
  | { readonly kind: 'reload_failed' }
  | { readonly kind: 'end'; readonly exitCode: number };

export type Step = { readonly state: State; readonly effects: readonly Effect[] };

export const firstState: State = { kind: 'gating', isFirst: true, failures: 0, hasServed: false };

/** @param dice  0 up to but not including 1, for the jitter of a back-off */
export function decide(rules: Policy, state: State, event: Event, nowMs: number, dice: number): Step {
  switch (state.kind) {
    case 'gating':
      return whileGating(rules, state, event, dice);
    case 'blocked':
    case 'waiting':
      return whileResting(state, event);
    case 'starting':
      return whileStarting(rules, state, event, nowMs, dice);
    case 'serving':
      return whileServing(rules, state, event, nowMs, dice);
    case 'replacing':
      return whileReplacing(rules, state, event, nowMs, dice);
    case 'stopping':
      return whileStopping(state, event);
    case 'ended':
      return { state, effects: [] };
  }
}

const nothing = (state: State): Step => ({ state, effects: [] });
const carry = ({ failures, hasServed }: Carried): Carried => ({ failures, hasServed });

function whileGating(rules: Policy, state: State & { kind: 'gating' }, event: Event, dice: number): Step {
  switch (event.kind) {
    case 'gate_passed':
      return {
        state: { ...carry(state), kind: 'starting', isReloadWanted: false },
        effects: [{ kind: 'launch' }, { kind: 'arm', afterMs: rules.readyMs }],
      };
    case 'gate_refused':
      if (state.isFirst) return end(state, event.exitCode);
      return {
        state: { kind: 'blocked', failures: state.failures + 1, hasServed: state.hasServed },
        effects: [{ kind: 'arm', afterMs: backoffMs(rules, state.failures + 1, dice) }],
      };
    case 'stop':
      return end(state, 0);
    // The gate is being run: its answer comes, whatever else happens. A reload means the gate again, which it is doing.
    case 'reload':
    case 'ready':
    case 'exited':
    case 'giving_up':
    case 'unfit':
    case 'timer':
    case 'reload_passed':
    case 'next_ready':
    case 'next_failed':
      return nothing(state);
  }
}

/** `blocked` and `waiting`: no plugin, a timer runs. */
function whileResting(state: State, event: Event): Step {
  switch (event.kind) {
    case 'timer':
    case 'reload':
      return {
        state: { ...carry(state), kind: 'gating', isFirst: false },
        effects: [{ kind: 'disarm' }, { kind: 'run_gate', isFirst: false }],
      };
    case 'stop':
      return end(state, 0);
    // Late news of a plugin that is gone.
    case 'gate_passed':
    case 'gate_refused':
    case 'ready':
    case 'exited':
    case 'giving_up':
    case 'unfit':
    case 'reload_passed':
    case 'next_ready':
    case 'next_failed':
      return nothing(state);
  }
}

function whileStarting(
  rules: Policy,
  state: State & { kind: 'starting' },
  event: Event,
  nowMs: number,
  dice: number,
): Step {
  switch (event.kind) {
    case 'ready':
      return {
        state: { kind: 'serving', sinceMs: nowMs, failures: state.failures, hasServed: true },
        effects: [{ kind: 'disarm' }, ...(state.isReloadWanted ? [{ kind: 'prepare_reload' } as const] : [])],
      };
    case 'timer':
      return retry(rules, state, 'not_ready', dice);
    case 'exited':
      return retry(rules, state, event.reason, dice);
    case 'unfit':
      if (event.reason === 'confinement' && !state.hasServed) return end(state, 5);
      return retry(rules, state, event.reason, dice);
    case 'giving_up':
      if (!event.canRelaunchHelp && !state.hasServed) return end(state, 5);
      return retry(rules, state, 'not_ready', dice);
    case 'stop':
      return end(state, 0);
    // Remembered once, done when serving.
    case 'reload':
      return nothing({ ...state, isReloadWanted: true });
    case 'gate_passed':
    case 'gate_refused':
    case 'reload_passed':
    case 'next_ready':
    case 'next_failed':
      return nothing(state);
  }
}

function whileServing(
  rules: Policy,
  state: State & { kind: 'serving' },
  event: Event,
  nowMs: number,
  dice: number,
): Step {
  const isGood = nowMs - state.sinceMs >= rules.forgetMs;
  const seasoned = isGood ? { ...state, failures: 0 } : state;
  switch (event.kind) {
    case 'exited':
      return retry(rules, seasoned, event.reason, dice);
    case 'unfit':
      return retry(rules, seasoned, event.reason, dice);
    case 'reload':
      return { state, effects: [{ kind: 'prepare_reload' }] };
    case 'reload_passed':
      return {
        state: { ...carry(state), kind: 'replacing', sinceMs: state.sinceMs, isReloadWanted: false },
        effects: [{ kind: 'launch_next' }, { kind: 'arm', afterMs: Math.max(rules.readyMs, event.readyMs) }],
      };
    case 'stop':
      return {
        state: { ...carry(state), kind: 'stopping' },
        effects: [
          { kind: 'remove_name' },
          { kind: 'drain', deadlineMs: rules.drainMs },
          { kind: 'arm', afterMs: rules.killMs },
        ],
      };
    // Only before `ready`; the channel refuses them, and no timer runs here.
    case 'ready':
    case 'giving_up':
    case 'timer':
    case 'gate_passed':
    case 'gate_refused':
    case 'next_ready':
    case 'next_failed':
      return nothing(state);
  }
}

/** Two plugins: the one in office serves until the other is ready; if that fails nothing has changed. */
function whileReplacing(
  rules: Policy,
  state: State & { kind: 'replacing' },
  event: Event,
  nowMs: number,
  dice: number,
): Step {
  const serving = { ...carry(state), kind: 'serving', sinceMs: state.sinceMs } as const;
  const again: readonly Effect[] = state.isReloadWanted ? [{ kind: 'prepare_reload' }] : [];
  switch (event.kind) {
    case 'next_ready':
      return {
        state: { kind: 'serving', sinceMs: nowMs, failures: 0, hasServed: true },
        effects: [
          { kind: 'disarm' },
          { kind: 'hand_over', deadlineMs: rules.drainMs, killMs: rules.killMs },
          { kind: 'count', reason: 'reload' },
          ...again,
        ],
      };
    case 'next_failed':
    case 'timer':
      return {
        state: serving,
        effects: [{ kind: 'disarm' }, { kind: 'kill_next' }, { kind: 'reload_failed' }, ...again],
      };
    // The one in office is gone: start again in the usual order.
    case 'exited':
    case 'unfit': {
      const { state: next, effects } = retry(rules, state, event.reason, dice);
      return { state: next, effects: [{ kind: 'kill_next' }, ...effects] };
    }
    case 'stop': {
      const { state: next, effects } = whileServing(rules, serving, event, nowMs, dice);
      return { state: next, effects: [{ kind: 'kill_next' }, ...effects] };
    }
    case 'reload':
      return nothing({ ...state, isReloadWanted: true });
    case 'ready':
    case 'giving_up':
    case 'gate_passed':
    case 'gate_refused':
    case 'reload_passed':
      return nothing(state);
  }
}

function whileStopping(state: State & { kind: 'stopping' }, event: Event): Step {
  switch (event.kind) {
    case 'exited':
    case 'timer':
    case 'unfit':
      return { state: { ...carry(state), kind: 'ended' }, effects: [{ kind: 'kill' }, { kind: 'end', exitCode: 0 }] };
    // A second signal does not restart the clock.
    case 'stop':
    case 'reload':
    case 'ready':
    case 'giving_up':
    case 'gate_passed':
    case 'gate_refused':
    case 'reload_passed':
    case 'next_ready':
    case 'next_failed':
      return nothing(state);
  }
}

function retry(rules: Policy, state: Carried, reason: RestartReason, dice: number): Step {
  const failures = state.failures + 1;
  return {
    state: { kind: 'waiting', failures, hasServed: state.hasServed },
    effects: [{ kind: 'kill' }, { kind: 'count', reason }, { kind: 'arm', afterMs: backoffMs(rules, failures, dice) }],
  };
}

function backoffMs(rules: Policy, failures: number, dice: number): number {
  const index = Math.min(failures, rules.backoffMs.length) - 1;
  const delayMs = rules.backoffMs[index] ?? 0;
  return jitterMs(delayMs, dice, Number.POSITIVE_INFINITY);
}

function end(state: Carried, exitCode: number): Step {
  return {
    state: { ...carry(state), kind: 'ended' },
    effects: [{ kind: 'kill' }, { kind: 'remove_name' }, { kind: 'end', exitCode }],
  };
}
