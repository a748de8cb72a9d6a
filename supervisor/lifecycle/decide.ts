// The life of the plugin, as one pure machine: what is done when what happens. Whoever wants to know "what if X happens
// while Y" finds one line here. It does not wait, log, read a clock or draw a random number.

import { exitCodes } from '../../shared/errors/exit-codes.ts';
import { jitterMs } from '../../shared/time/backoff.ts';
import type { Effect, Event, Policy, ReplacementCause, RestartReason, State, Step } from './events.ts';

type Carried = Pick<State, 'failures' | 'hasServed'>;

/** @param random  0 up to but not including 1, for the jitter of a back-off */
export function decide(rules: Policy, state: State, event: Event, nowMs: number, random: number): Step {
  switch (state.kind) {
    case 'gating':
      return whileGating(rules, state, event, random);
    case 'blocked':
    case 'waiting':
      return whileResting(rules, state, event, random);
    case 'starting':
      return whileStarting(rules, state, event, nowMs, random);
    case 'serving':
      return whileServing(rules, state, event, nowMs, random);
    case 'replacing':
      return whileReplacing(rules, state, event, nowMs, random);
    case 'stopping':
      return whileStopping(state, event);
    case 'ended':
      return event.kind === 'prepared' ? dropped(state) : nothing(state);
  }
}

const nothing = (state: State): Step => ({ state, effects: [] });
const carry = ({ failures, hasServed }: Carried): Carried => ({ failures, hasServed });
const isReload = (cause: ReplacementCause) => cause === 'reload';
/** Whether somebody still waits for the configuration to be read again, or for a plugin that runs with what was read. */
const wantsReload = (state: State) =>
  ('isReloadWanted' in state && state.isReloadWanted) || (state.kind === 'replacing' && isReload(state.cause));

function whileGating(rules: Policy, state: State & { kind: 'gating' }, event: Event, random: number): Step {
  switch (event.kind) {
    case 'gate_passed':
      return {
        state: { ...carry(state), kind: 'starting', isReloadWanted: state.isReloadWanted },
        effects: [{ kind: 'launch' }, { kind: 'arm', afterMs: rules.readyMs }],
      };
    case 'gate_refused':
      if (state.isFirst) return end(state, event.exitCode);
      if (state.isReloadWanted) return gateAgain(state, true);
      return {
        state: { kind: 'blocked', failures: state.failures + 1, hasServed: state.hasServed },
        effects: [{ kind: 'arm', afterMs: backoffMs(rules, state.failures + 1, random) }],
      };
    case 'effect_failed':
      return state.isFirst ? end(state, exitCodes.runtime) : standBack(rules, state, random);
    case 'stop':
      return end(state, exitCodes.success);
    case 'depart':
      return end(state, exitCodes.directoryLost);
    // The gate is being run; its answer comes. What was asked for meanwhile is done after it.
    case 'reload':
      return nothing({ ...state, isReloadWanted: true });
    case 'prepared':
      return dropped({ ...state, isReloadWanted: state.isReloadWanted || isReload(event.cause) });
    // The gate itself repairs a lost name, and the plugin that is launched gets every port.
    case 'name_lost':
    case 'port_bound':
    case 'ready':
    case 'exited':
    case 'giving_up':
    case 'unfit':
    case 'timer':
    case 'preparation_failed':
    case 'next_ready':
    case 'next_failed':
      return nothing(state);
  }
}

/** `blocked` and `waiting`: no plugin, a timer runs. */
function whileResting(
  rules: Policy,
  state: State & { kind: 'blocked' | 'waiting' },
  event: Event,
  random: number,
): Step {
  switch (event.kind) {
    case 'timer':
      return gateAgain(state, wantsReload(state));
    case 'effect_failed':
      return standBack(rules, state, random);
    case 'reload':
      return gateAgain(state, true);
    case 'stop':
      return end(state, exitCodes.success);
    case 'depart':
      return end(state, exitCodes.directoryLost);
    // Prepared for a plugin that has gone meanwhile: the gate starts anew, with the configuration that was asked for.
    case 'prepared': {
      if (!isReload(event.cause)) return dropped(state);
      const again = gateAgain(state, true);
      return { state: again.state, effects: [{ kind: 'drop_prepared' }, ...again.effects] };
    }
    // Late news of a plugin that is gone; the next gate repairs a lost name.
    case 'name_lost':
    case 'port_bound':
    case 'gate_passed':
    case 'gate_refused':
    case 'ready':
    case 'exited':
    case 'giving_up':
    case 'unfit':
    case 'preparation_failed':
    case 'next_ready':
    case 'next_failed':
      return nothing(state);
  }
}

/** @param isReload  the configuration is read again first */
function gateAgain(state: Carried, isReload: boolean): Step {
  return {
    state: { ...carry(state), kind: 'gating', isFirst: false, isReloadWanted: false },
    effects: [{ kind: 'disarm' }, { kind: 'run_gate', isFirst: false, isReload }],
  };
}

function dropped(state: State): Step {
  return { state, effects: [{ kind: 'drop_prepared' }] };
}

function whileStarting(
  rules: Policy,
  state: State & { kind: 'starting' },
  event: Event,
  nowMs: number,
  random: number,
): Step {
  switch (event.kind) {
    case 'ready':
      return serve({ failures: state.failures, hasServed: true }, nowMs, state.isReloadWanted, [{ kind: 'disarm' }]);
    case 'timer':
      return retry(rules, state, 'not_ready', random);
    case 'exited':
      return retry(rules, state, event.reason, random);
    case 'unfit':
      if (event.reason === 'confinement' && !state.hasServed) return end(state, exitCodes.runtime);
      return retry(rules, state, event.reason, random);
    case 'giving_up':
      if (!event.canRelaunchHelp && !state.hasServed) return refuseStart(state, event.exitCode);
      return retry(rules, state, 'not_ready', random);
    case 'effect_failed':
      return standBack(rules, state, random);
    case 'stop':
      return end(state, exitCodes.success);
    case 'depart':
      return end(state, exitCodes.directoryLost);
    // Remembered once, done when serving.
    case 'reload':
      return nothing({ ...state, isReloadWanted: true });
    case 'prepared':
      return dropped({ ...state, isReloadWanted: state.isReloadWanted || isReload(event.cause) });
    // Looked at again when it serves.
    case 'name_lost':
    case 'port_bound':
    case 'gate_passed':
    case 'gate_refused':
    case 'preparation_failed':
    case 'next_ready':
    case 'next_failed':
      return nothing(state);
  }
}

/** It is the incumbent from now on; a reload that was asked for meanwhile is done at once. */
function serve(carried: Carried, sinceMs: number, isReloadWanted: boolean, effects: readonly Effect[]): Step {
  const state = { ...carry(carried), kind: 'serving', sinceMs, isReloadWanted: false } as const;
  if (!isReloadWanted) return { state: { ...state, isPreparing: false }, effects };
  return { state: { ...state, isPreparing: true }, effects: [...effects, { kind: 'prepare', cause: 'reload' }] };
}

function whileServing(
  rules: Policy,
  state: State & { kind: 'serving' },
  event: Event,
  nowMs: number,
  random: number,
): Step {
  const isGood = nowMs - state.sinceMs >= rules.forgetMs;
  const seasoned = isGood ? { ...state, failures: 0 } : state;
  switch (event.kind) {
    case 'exited':
      return retry(rules, seasoned, event.reason, random);
    case 'unfit':
      return retry(rules, seasoned, event.reason, random);
    case 'reload':
      if (state.isPreparing) return nothing({ ...state, isReloadWanted: true });
      return { state: { ...state, isPreparing: true }, effects: [{ kind: 'prepare', cause: 'reload' }] };
    // A replacement that is being prepared repairs the name as well.
    case 'name_lost':
      if (state.isPreparing) return nothing(state);
      return { state: { ...state, isPreparing: true }, effects: [{ kind: 'prepare', cause: 'socket_lost' }] };
    // Said again until it is served.
    case 'port_bound':
      if (state.isPreparing) return nothing(state);
      return { state: { ...state, isPreparing: true }, effects: [{ kind: 'prepare', cause: 'port_bound' }] };
    case 'prepared':
      return {
        state: {
          ...carry(state),
          kind: 'replacing',
          sinceMs: state.sinceMs,
          cause: event.cause,
          isReloadWanted: state.isReloadWanted,
        },
        effects: [{ kind: 'launch_next' }, { kind: 'arm', afterMs: Math.max(rules.readyMs, event.readyMs) }],
      };
    case 'preparation_failed':
      return serve(state, state.sinceMs, state.isReloadWanted, []);
    case 'effect_failed':
      return standBack(rules, state, random);
    case 'stop':
      return drain(rules, state, exitCodes.success);
    case 'depart':
      return drain(rules, state, exitCodes.directoryLost);
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

/** Two plugins: the incumbent serves until the other is ready; if that fails nothing has changed. */
function whileReplacing(
  rules: Policy,
  state: State & { kind: 'replacing' },
  event: Event,
  nowMs: number,
  random: number,
): Step {
  switch (event.kind) {
    case 'next_ready':
      return serve({ failures: 0, hasServed: true }, nowMs, state.isReloadWanted, [
        { kind: 'disarm' },
        { kind: 'hand_over', deadlineMs: rules.drainMs, killMs: rules.killMs },
        { kind: 'count', reason: state.cause },
      ]);
    case 'next_failed':
    case 'timer':
      return serve(state, state.sinceMs, state.isReloadWanted, [
        { kind: 'disarm' },
        { kind: 'kill_next' },
        { kind: 'replacement_failed', cause: state.cause },
      ]);
    // The incumbent is gone: start again in the usual order, with the configuration that a reload asked for.
    case 'exited':
    case 'unfit': {
      const { state: next, effects } = retry(rules, state, event.reason, random);
      return { state: next, effects: [{ kind: 'kill_next' }, ...effects] };
    }
    case 'stop':
    case 'depart': {
      const { state: next, effects } = drain(
        rules,
        state,
        event.kind === 'stop' ? exitCodes.success : exitCodes.directoryLost,
      );
      return { state: next, effects: [{ kind: 'kill_next' }, ...effects] };
    }
    case 'effect_failed':
      return standBack(rules, state, random);
    case 'reload':
      return nothing({ ...state, isReloadWanted: true });
    // Only one replacement is prepared at a time.
    case 'prepared':
    case 'preparation_failed':
    case 'name_lost':
    case 'port_bound':
    case 'ready':
    case 'giving_up':
    case 'gate_passed':
    case 'gate_refused':
      return nothing(state);
  }
}

function whileStopping(state: State & { kind: 'stopping' }, event: Event): Step {
  switch (event.kind) {
    case 'exited':
    case 'timer':
    case 'unfit':
    case 'effect_failed':
      return {
        state: { ...carry(state), kind: 'ended' },
        effects: [{ kind: 'kill' }, { kind: 'end', exitCode: state.exitCode }],
      };
    case 'prepared':
      return dropped(state);
    // Whoever asked to stop wants no new start.
    case 'stop':
      return nothing({ ...state, exitCode: exitCodes.success });
    // A second cause does not restart the clock.
    case 'depart':
    case 'reload':
    case 'name_lost':
    case 'port_bound':
    case 'ready':
    case 'giving_up':
    case 'gate_passed':
    case 'gate_refused':
    case 'preparation_failed':
    case 'next_ready':
    case 'next_failed':
      return nothing(state);
  }
}

/** The plugin ends what runs; then this process ends. */
function drain(rules: Policy, state: Carried, exitCode: number): Step {
  return {
    state: { ...carry(state), kind: 'stopping', exitCode },
    effects: [
      { kind: 'remove_name' },
      { kind: 'drain', deadlineMs: rules.drainMs },
      { kind: 'arm', afterMs: rules.killMs },
    ],
  };
}

function refuseStart(state: Carried, exitCode: number): Step {
  const { state: next, effects } = end(state, exitCode);
  return { state: next, effects: [{ kind: 'refuse_start' }, ...effects] };
}

function retry(rules: Policy, state: State, reason: RestartReason, random: number): Step {
  const failures = state.failures + 1;
  return {
    state: { kind: 'waiting', failures, hasServed: state.hasServed, isReloadWanted: wantsReload(state) },
    effects: [
      { kind: 'kill' },
      { kind: 'count', reason },
      { kind: 'arm', afterMs: backoffMs(rules, failures, random) },
    ],
  };
}

/**
 * Something of ours went wrong and nobody knows how much of it was done: everything is put away, and a timer begins anew. What is
 * counted is left out, as it may be what went wrong.
 */
function standBack(rules: Policy, state: State, random: number): Step {
  const failures = state.failures + 1;
  return {
    state: { kind: 'waiting', failures, hasServed: state.hasServed, isReloadWanted: wantsReload(state) },
    effects: [
      { kind: 'kill_next' },
      { kind: 'kill' },
      { kind: 'arm', afterMs: backoffMs(rules, failures + 1, random) },
    ],
  };
}

function backoffMs(rules: Policy, failures: number, random: number): number {
  const index = Math.min(failures, rules.backoffMs.length) - 1;
  const delayMs = rules.backoffMs[index] ?? 0;
  return jitterMs(delayMs, random, Number.POSITIVE_INFINITY);
}

function end(state: Carried, exitCode: number): Step {
  return {
    state: { ...carry(state), kind: 'ended' },
    effects: [{ kind: 'kill' }, { kind: 'remove_name' }, { kind: 'end', exitCode }],
  };
}
