// Every state of the plugin's life with every event: for the tests that walk them all, and for the table in docs/states.md.

import { decide } from '../../supervisor/lifecycle/decide.ts';
import { type Effect, type Event, firstState, policy, type State } from '../../supervisor/lifecycle/events.ts';

const carried = { failures: 0, hasServed: true };

export const states: readonly State[] = [
  firstState,
  { ...carried, kind: 'gating', isFirst: false, isReloadWanted: false },
  { ...carried, kind: 'blocked' },
  { ...carried, kind: 'waiting', isReloadWanted: false },
  { ...carried, kind: 'starting', isReloadWanted: false },
  { ...carried, kind: 'serving', sinceMs: 0, isPreparing: false, isReloadWanted: false },
  { ...carried, kind: 'replacing', sinceMs: 0, cause: 'reload', isReloadWanted: false },
  { ...carried, kind: 'stopping', exitCode: 0 },
  { ...carried, kind: 'ended' },
];

export const events: readonly Event[] = [
  { kind: 'gate_passed' },
  { kind: 'gate_refused', exitCode: 5 },
  { kind: 'ready' },
  { kind: 'exited', reason: 'signal' },
  { kind: 'giving_up', canRelaunchHelp: false, exitCode: 5 },
  { kind: 'unfit', reason: 'hung' },
  { kind: 'unfit', reason: 'confinement' },
  { kind: 'reload' },
  { kind: 'name_lost' },
  { kind: 'port_bound' },
  { kind: 'prepared', cause: 'reload', readyMs: 60_000 },
  { kind: 'prepared', cause: 'socket_lost', readyMs: 60_000 },
  { kind: 'prepared', cause: 'port_bound', readyMs: 60_000 },
  { kind: 'preparation_failed' },
  { kind: 'next_ready' },
  { kind: 'next_failed' },
  { kind: 'timer' },
  { kind: 'effect_failed' },
  { kind: 'depart' },
  { kind: 'stop' },
];

const nameOfState = (state: State) => (state.kind === 'gating' && state.isFirst ? 'gating (first)' : state.kind);

function nameOfEvent(event: Event): string {
  if (event.kind === 'unfit' || event.kind === 'exited') return `${event.kind}: ${event.reason}`;
  return event.kind === 'prepared' ? `${event.kind}: ${event.cause}` : event.kind;
}

function nameOfEffect(effect: Effect): string {
  switch (effect.kind) {
    case 'arm':
      return `arm ${effect.afterMs / 1000} s`;
    case 'run_gate':
      return effect.isReload ? 'run_gate with the configuration read again' : 'run_gate';
    case 'count':
      return `count ${effect.reason}`;
    case 'prepare':
      return `prepare ${effect.cause}`;
    case 'end':
      return `end ${effect.exitCode}`;
    default:
      return effect.kind;
  }
}

function changeOf(before: State, after: State): string {
  const marks = ['isReloadWanted', 'isPreparing'] as const;
  const flag = (state: State, mark: (typeof marks)[number]) => mark in state && Reflect.get(state, mark) === true;
  const set = marks.filter((mark) => flag(after, mark) && !flag(before, mark));
  const name = after.kind === before.kind ? '' : nameOfState(after);
  return [name, ...set.map((mark) => (mark === 'isPreparing' ? 'preparing' : 'reload remembered'))]
    .filter((text) => text !== '')
    .join(', ');
}

/** One row for each pair in which something happens; the order is that of the lists above. */
export function stateTable(): string {
  const rows = states.flatMap((state) =>
    events.flatMap((event) => {
      const { state: next, effects } = decide(policy, state, event, 0, 0.5);
      const change = changeOf(state, next);
      if (change === '' && effects.length === 0) return [];
      const done = effects.map(nameOfEffect).join(', ');
      return [`| ${nameOfState(state)} | ${nameOfEvent(event)} | ${change || 'stays'} | ${done || 'nothing'} |\n`];
    }),
  );
  return `| State | Event | Then | Effects, in order |\n|---|---|---|---|\n${rows.join('')}`;
}
