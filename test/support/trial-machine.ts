// The machine of credentials on trial as a table: every typical state of one name with every event, made by the machine itself.

import {
  decide,
  type Effect,
  type Event,
  firstState,
  type Local,
  type Outcome,
  type State,
} from '../../plugin/session/trials.ts';

const rules = { refreshWindowMs: { openbao_ca: 0, login: 120_000 } };
const nowMs = 1_000_000;
const words = { early: { class: 'jwt_not_yet_valid' }, over: { class: 'jwt_near_expiry' } };
const usable: Local = { kind: 'timed', fromUnixMs: 0, untilUnixMs: Number.POSITIVE_INFINITY, ...words };
const early: Local = { ...usable, fromUnixMs: nowMs + 45_000 };
const unusable: Local = { kind: 'unusable', cause: { class: 'jwt_malformed' } };
const refused: Outcome = { kind: 'refused', cause: { class: 'auth_rejected' } };
const unproven: Outcome = { kind: 'unproven', cause: { class: 'timeout' } };

type Moment = { readonly name: string; readonly hasToken: boolean; readonly state: State };

function moments(): readonly Moment[] {
  const inUse = { generation: 1, local: usable, isBroken: false };
  const candidate = {
    generation: 2,
    local: usable,
    offeredAtMs: 0,
    failures: 1,
    triedAtMs: nowMs - 1_000,
    nextTryAtMs: nowMs + 9_000,
    told: undefined,
  };
  const login = (change: object): State => ({
    ...firstState,
    nextLoginAtMs: nowMs + 5_000,
    names: { ...firstState.names, login: { ...firstState.names.login, lastTrialAtMs: nowMs - 6_500, ...change } },
  });
  return [
    { name: 'nothing yet', hasToken: false, state: login({}) },
    { name: 'in use', hasToken: true, state: login({ inUse }) },
    { name: 'in use, no token', hasToken: false, state: login({ inUse }) },
    { name: 'in use, candidate waits 9 s', hasToken: true, state: login({ inUse, candidate }) },
    {
      name: 'in use is refused, candidate waits',
      hasToken: true,
      state: login({ inUse: { ...inUse, isBroken: true }, candidate }),
    },
    { name: 'candidate is early', hasToken: true, state: login({ inUse, candidate: { ...candidate, local: early } }) },
    {
      name: 'candidate is unusable',
      hasToken: true,
      state: login({ inUse, candidate: { ...candidate, local: unusable } }),
    },
  ];
}

const offered = (local: Local, isSame = false): Event => ({
  kind: 'offered',
  name: 'login',
  generation: 3,
  local,
  isSame,
});
const tried = (generation: number, outcome: Outcome): Event => ({
  kind: 'tried',
  name: 'login',
  generation,
  local: usable,
  outcome,
});
const events: readonly (readonly [string, Event])[] = [
  ['a new file', offered(usable)],
  ['a new file, early by 45 s', offered(early)],
  ['a new file, unusable', offered(unusable)],
  ['the bytes in use again', offered(usable, true)],
  ['candidate: good', tried(2, { kind: 'good' })],
  ['candidate: refused', tried(2, refused)],
  ['candidate: no answer', tried(2, unproven)],
  ['in use: refused', tried(1, refused)],
  ['in use: no answer', tried(1, unproven)],
  ['time passes', { kind: 'tick' }],
];

function described(effect: Effect): string | undefined {
  switch (effect.kind) {
    case 'try':
      return effect.generation === undefined ? 'log in' : `try ${effect.generation}`;
    case 'adopt':
      return `use ${effect.generation}`;
    case 'tell': {
      const next = effect.nextTryMs === undefined ? '' : `, next try in ${Math.round(effect.nextTryMs / 1000)} s`;
      const what = effect.outcome.kind === 'good' ? 'in use' : `${effect.outcome.kind} (${effect.outcome.cause.class})`;
      return `tell: ${effect.generation} ${what}${next}`;
    }
    case 'arm':
      return undefined;
  }
}

/** Markdown rows; pairs that cannot meet or change nothing are left out. Delays without their jitter. */
export function trialTable(): string {
  const rows = moments().flatMap(({ name, hasToken, state }) =>
    events.flatMap(([what, event]) => {
      const { inUse, candidate } = state.names.login;
      // Time alone repeats what was said when the file came.
      if (event.kind !== 'offered' && candidate !== undefined && candidate.local !== usable) return [];
      if (event.kind === 'tried' && event.generation === 2 && candidate?.local !== usable) return [];
      if (event.kind === 'tried' && event.generation === 1 && inUse === undefined) return [];
      const { effects } = decide(rules, state, event, { nowMs, wallMs: nowMs, hasToken, random: 0.5 });
      const shown = effects.map(described).filter((text) => text !== undefined);
      return shown.length === 0 ? [] : [`| ${name} | ${what} | ${shown.join('; ')} |\n`];
    }),
  );
  return `| Then | Happens | Effects |\n|---|---|---|\n${rows.join('')}`;
}
