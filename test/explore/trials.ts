// Every state that credentials on trial can reach within bounds: two names of three generations each, an OpenBao that accepts,
// refuses, falls silent and changes its mind, tokens that end, and time. Runs the product's own machine and login order. Times in a
// state are kept relative to its moment, so states that differ only by when they happen are one.

import { type AttemptEnd, loginSteps } from '../../plugin/session/login-steps.ts';
import {
  decide,
  type Effect,
  type Event,
  firstState,
  type Local,
  type Now,
  type Outcome,
  pace,
  type State,
  type TrialName,
  trialNames,
} from '../../plugin/session/trials.ts';

export const sentences = {
  taken: 'A good candidate on disk is in use within 60 s of the moment in which it became good.',
  proven: 'What is in use is given up only for a generation that has just proven itself.',
  told: 'Every failed trial of the candidate is told, the same word at most once a minute; every adoption is told once.',
  spaced: 'Two trials of one name begin at least 5 s apart, whatever happens between them.',
} as const;
export type Sentence = keyof typeof sentences;

export type TrialBounds = {
  /** Of these names newer generations land; the other stays at its first. */
  readonly names: readonly TrialName[];
  readonly generations: number;
  /** What OpenBao accepts changes, or it falls silent or speaks again. */
  readonly changes: number;
  readonly tokenEnds: number;
  /** 0 up to but not including 1: the shortest to the longest delays. */
  readonly random: number;
  /** The second generation of what is logged in with cannot be sent before this time, milliseconds. */
  readonly earlyMs: number;
};

export type TrialOutcome = {
  readonly states: number;
  readonly violation: { readonly sentence: string; readonly path: readonly string[] } | undefined;
};

const allowedMs = 60_000;
const silentTrialMs = 5_000;
const rules = { refreshWindowMs: { openbao_ca: 0, login: 120_000 } };
const cause = (kind: string) => ({ class: kind });
const always = { fromUnixMs: Number.NEGATIVE_INFINITY, untilUnixMs: Number.POSITIVE_INFINITY };

type Running = { readonly name: TrialName; readonly generation: number | undefined; readonly leftMs: number };
type Monitor = {
  /** How long the newest on disk has been good without being in use. */
  readonly goodMs: number;
  readonly sinceTrialMs: number;
  readonly said: { readonly word: string; readonly ageMs: number } | undefined;
};
type World = {
  readonly machine: State;
  /** Moment of the machine's times. */
  readonly nowMs: number;
  readonly hasToken: boolean;
  readonly running: Running | undefined;
  readonly armedMs: number;
  /** Bit n: generation n is accepted. */
  readonly accepts: Readonly<Record<TrialName, number>>;
  readonly isSilent: boolean;
  readonly onDisk: Readonly<Record<TrialName, number>>;
  readonly changes: number;
  readonly tokenEnds: number;
  readonly monitors: Readonly<Record<TrialName, Monitor>>;
  readonly from: World | undefined;
  readonly label: string;
};

class Broken extends Error {
  readonly sentence: Sentence;
  constructor(sentence: Sentence) {
    super(sentence);
    this.sentence = sentence;
  }
}

const isGood = (world: World, name: TrialName, generation: number) => ((world.accepts[name] >> generation) & 1) === 1;

/** One world while its next moment is worked out. */
class Walk {
  world: World;
  readonly #bounds: TrialBounds;

  constructor(world: World, bounds: TrialBounds) {
    this.world = world;
    this.#bounds = bounds;
  }

  change(change: Partial<World>): void {
    this.world = { ...this.world, ...change };
  }

  event(event: Event): void {
    const { machine, nowMs, hasToken } = this.world;
    const now: Now = { nowMs, wallMs: nowMs, hasToken, random: this.#bounds.random };
    const before = machine.names;
    const { state, effects } = decide(rules, machine, event, now);
    this.change({ machine: state });
    for (const effect of effects) this.#perform(effect, event);
    this.#checkTold(event, before, effects);
  }

  /** The attempt's end by what OpenBao accepts at this moment. */
  attempt(openbaoCa: number, login: number): AttemptEnd {
    if (this.world.isSilent) return { kind: 'no_answer', cause: cause('timeout') };
    if (!isGood(this.world, 'openbao_ca', openbaoCa)) return { kind: 'tls_failed', cause: cause('tls') };
    return isGood(this.world, 'login', login) ? { kind: 'granted' } : { kind: 'refused', cause: cause('refused') };
  }

  login(isTrial: boolean): void {
    const { nowMs: wallMs, hasToken } = this.world;
    const steps = loginSteps({ state: () => this.world.machine, wallMs, hasToken, isTrial });
    for (let step = steps.next(); ; ) {
      if (step.done === true) {
        if (step.value.kind === 'granted') this.change({ hasToken: true });
        return;
      }
      if (step.value.kind === 'tried') {
        this.tried(step.value.name, step.value.generation, step.value.outcome);
        step = steps.next();
      } else step = steps.next(this.attempt(step.value.attempt.openbaoCa, step.value.attempt.login));
    }
  }

  finishTrial({ name, generation }: Running, isStuck: boolean): void {
    this.change({ running: undefined });
    const silent = this.world.isSilent;
    if (isStuck) this.change({ isSilent: true });
    if (name === 'login') this.login(true);
    else if (generation !== undefined) this.tried(name, generation, this.handshake(generation));
    this.change({ isSilent: silent });
    this.event({ kind: 'trial_ended' });
  }

  tried(name: TrialName, generation: number, outcome: Outcome): void {
    const { inUse, candidate } = this.world.machine.names[name];
    const known = [inUse, candidate].find((one) => one?.generation === generation);
    const local = known?.local ?? { kind: 'timed', ...always, early: cause('early'), over: cause('over') };
    this.event({ kind: 'tried', name, generation, local, outcome });
  }

  handshake(generation: number): Outcome {
    if (this.world.isSilent) return { kind: 'unproven', cause: cause('timeout') };
    return isGood(this.world, 'openbao_ca', generation) ? { kind: 'good' } : { kind: 'refused', cause: cause('tls') };
  }

  #perform(effect: Effect, event: Event): void {
    const { monitors, isSilent } = this.world;
    if (effect.kind === 'arm') this.change({ armedMs: effect.afterMs });
    if (effect.kind === 'adopt') {
      const isFirstCa = event.kind === 'offered' && effect.name === 'openbao_ca';
      const isSame = event.kind === 'offered' && event.isSame;
      if (!isFirstCa && !isSame && !isGood(this.world, effect.name, effect.generation)) throw new Broken('proven');
    }
    if (effect.kind !== 'try') return;
    const monitor = monitors[effect.name];
    if (monitor.sinceTrialMs < pace.spacingMs) throw new Broken('spaced');
    const running = { name: effect.name, generation: effect.generation, leftMs: isSilent ? silentTrialMs : 0 };
    this.change({ running, monitors: { ...monitors, [effect.name]: { ...monitor, sinceTrialMs: 0 } } });
  }

  #checkTold(event: Event, before: State['names'], effects: readonly Effect[]): void {
    for (const name of trialNames) {
      const adoptions = effects.filter((effect) => effect.kind === 'adopt' && effect.name === name).length;
      const tells = effects.filter((effect) => effect.kind === 'tell' && effect.name === name);
      const good = tells.filter((effect) => effect.kind === 'tell' && effect.outcome.kind === 'good').length;
      if (adoptions !== good) throw new Broken('told');
      const bad = tells.flatMap((tell) => (tell.kind === 'tell' && tell.outcome.kind !== 'good' ? [tell] : []));
      const monitor = this.world.monitors[name];
      const isTrialOfIt = event.kind === 'tried' && event.name === name && event.outcome.kind !== 'good';
      const isOfCandidate = isTrialOfIt && before[name].candidate?.generation === event.generation;
      if (isOfCandidate) {
        const word = `${event.generation} ${event.outcome.kind} ${event.outcome.cause.class}`;
        const isRepeat = monitor.said?.word === word && monitor.said.ageMs < pace.repeatMs;
        if (bad.length > 0 === isRepeat) throw new Broken('told');
        if (!isRepeat) this.#say(name, { word, ageMs: 0 });
      } else {
        const [first] = bad;
        if (bad.length > 1) throw new Broken('told');
        if (first?.outcome.kind === 'refused' || first?.outcome.kind === 'unproven') {
          this.#say(name, { word: `${first.generation} ${first.outcome.kind} ${first.outcome.cause.class}`, ageMs: 0 });
        }
      }
    }
  }

  #say(name: TrialName, said: Monitor['said']): void {
    const { monitors } = this.world;
    this.change({ monitors: { ...monitors, [name]: { ...monitors[name], said } } });
  }
}

/** Whether the newest on disk could be taken now, and is not in use. */
function isWaitingGood(world: World, name: TrialName): boolean {
  const { machine, onDisk, isSilent } = world;
  const { inUse, candidate } = machine.names[name];
  if (isSilent || inUse?.generation === onDisk[name] || !isGood(world, name, onDisk[name])) return false;
  const isEarly = candidate?.local.kind === 'timed' && candidate.local.fromUnixMs > world.nowMs;
  if (isEarly) return false;
  if (name === 'openbao_ca') return true;
  const { openbao_ca: ca } = machine.names;
  return [ca.inUse, ca.candidate].some((one) => one !== undefined && isGood(world, 'openbao_ca', one.generation));
}

/** Time passes; what became good and is not taken grows older. */
function pass(world: World, ms: number): World {
  const age = (name: TrialName): Monitor => {
    const { goodMs, sinceTrialMs, said } = world.monitors[name];
    const grown = isWaitingGood(world, name) ? goodMs + ms : 0;
    if (grown > allowedMs) throw new Broken('taken');
    return { goodMs: grown, sinceTrialMs: sinceTrialMs + ms, said: said && { ...said, ageMs: said.ageMs + ms } };
  };
  const monitors = { openbao_ca: age('openbao_ca'), login: age('login') };
  const { running } = world;
  const leftMs = running === undefined ? 0 : Math.max(0, running.leftMs - ms);
  return {
    ...world,
    nowMs: world.nowMs + ms,
    armedMs: world.armedMs - ms,
    running: running && { ...running, leftMs },
    monitors,
  };
}

/** After any change of the world the clock of what is good and waiting begins anew. */
function settle(world: World): World {
  const of = (name: TrialName) =>
    isWaitingGood(world, name) ? world.monitors[name] : { ...world.monitors[name], goodMs: 0 };
  return { ...world, monitors: { openbao_ca: of('openbao_ca'), login: of('login') } };
}

function restartClocks(world: World): World {
  const of = (name: TrialName) => ({ ...world.monitors[name], goodMs: 0 });
  return { ...world, monitors: { openbao_ca: of('openbao_ca'), login: of('login') } };
}

type Move = { readonly label: string; readonly run: (walk: Walk) => void };

function movesOf(world: World, bounds: TrialBounds): readonly Move[] {
  const moves: Move[] = [];
  const { running } = world;
  if (running !== undefined && running.leftMs === 0) {
    moves.push({ label: `the trial of ${running.name} ends`, run: (walk) => walk.finishTrial(running, false) });
  } else if (running !== undefined) {
    const stuck = (walk: Walk) => {
      walk.change(pass(walk.world, running.leftMs));
      walk.finishTrial(running, true);
    };
    moves.push({ label: `the trial of ${running.name} ends without an answer`, run: stuck });
  } else {
    const wait = Math.max(1, world.armedMs);
    const tick = (walk: Walk) => {
      walk.change(pass(walk.world, wait));
      walk.event({ kind: 'tick' });
    };
    moves.push({ label: `${wait / 1000} s pass`, run: tick });
  }
  return [...moves, ...changesOf(world, bounds)];
}

function changesOf(world: World, bounds: TrialBounds): readonly Move[] {
  const moves: Move[] = [];
  for (const name of trialNames) {
    const next = world.onDisk[name] + 1;
    if (bounds.names.includes(name) && next <= bounds.generations) {
      const offer = (isSame: boolean) => (walk: Walk) => {
        walk.change({ onDisk: { ...walk.world.onDisk, [name]: next } });
        if (isSame) {
          const before = (walk.world.accepts[name] >> (next - 1)) & 1;
          walk.change({ accepts: { ...walk.world.accepts, [name]: withBit(walk.world.accepts[name], next, before) } });
        }
        walk.change(restartClocks(walk.world));
        walk.event({ kind: 'offered', name, generation: next, local: localOf(name, next, walk.world, bounds), isSame });
      };
      moves.push({ label: `${name} ${next} lands`, run: offer(false) });
      const isInUse = world.machine.names[name].inUse?.generation === next - 1;
      if (isInUse) moves.push({ label: `${name} ${next} lands with the bytes of ${next - 1}`, run: offer(true) });
    }
  }
  if (world.changes > 0) {
    const changed = (label: string, change: Partial<World>) =>
      moves.push({
        label,
        run: (walk) => walk.change(restartClocks({ ...walk.world, ...change, changes: walk.world.changes - 1 })),
      });
    changed(world.isSilent ? 'OpenBao speaks' : 'OpenBao falls silent', { isSilent: !world.isSilent });
    for (const name of trialNames) {
      for (const mask of masksOf(world.onDisk[name])) {
        if (mask === world.accepts[name]) continue;
        changed(`OpenBao accepts ${name} ${mask.toString(2)}`, { accepts: { ...world.accepts, [name]: mask } });
      }
    }
  }
  if (world.tokenEnds > 0 && world.hasToken) {
    const end = (walk: Walk) => walk.change({ hasToken: false, tokenEnds: walk.world.tokenEnds - 1 });
    moves.push({ label: 'the token ends', run: end });
  }
  const { inUse } = world.machine.names.openbao_ca;
  if (inUse !== undefined && !world.isSilent) {
    const use = (walk: Walk) => walk.tried('openbao_ca', inUse.generation, walk.handshake(inUse.generation));
    moves.push({ label: 'a call opens a connection', run: use });
  }
  if (!world.hasToken && world.running === undefined) {
    moves.push({ label: 'a call wants a token', run: (walk) => walk.login(false) });
  }
  return moves;
}

/** Nothing, the newest, the one before it, or both. */
function masksOf(newest: number): readonly number[] {
  const [last, before] = [1 << newest, newest > 1 ? 1 << (newest - 1) : 0];
  return [...new Set([0, last, before, last | before])];
}

function withBit(mask: number, bit: number, value: number): number {
  return value === 1 ? mask | (1 << bit) : mask & ~(1 << bit);
}

function localOf(name: TrialName, generation: number, world: World, { earlyMs }: TrialBounds): Local {
  const words = { early: cause('early'), over: cause('over') };
  const isEarly = name === 'login' && generation === 2 && earlyMs > 0;
  return { kind: 'timed', ...always, ...words, ...(isEarly ? { fromUnixMs: world.nowMs + earlyMs } : {}) };
}

/**
 * All that distinguishes two worlds, with times relative to now and those that no longer matter cut off. What was told changes
 * nothing but what is told next, so it counts only where one name is looked at.
 */
function keyOf(world: World, bounds: TrialBounds): string {
  const isTelling = bounds.names.length === 1;
  const { machine, nowMs, monitors } = world;
  const relative = (atMs: number, oldestMs: number) => Math.max(oldestMs, atMs - nowMs);
  const names = trialNames.map((name) => {
    const { inUse, candidate, lastTrialAtMs } = machine.names[name];
    const { goodMs, said, sinceTrialMs } = monitors[name];
    const from = candidate?.local.kind === 'timed' ? relative(candidate.local.fromUnixMs, 0) : 0;
    return [
      inUse && [inUse.generation, inUse.isBroken],
      candidate && [
        candidate.generation,
        Math.min(candidate.failures, 5),
        relative(candidate.nextTryAtMs, -1),
        relative(candidate.triedAtMs, -7_000),
        relative(candidate.offeredAtMs, -7_000),
        from,
        isTelling && candidate.told && [candidate.told.outcome, relative(candidate.told.atMs, -pace.repeatMs)],
      ],
      relative(lastTrialAtMs, -7_000),
      [goodMs, isTelling && said && [said.word, Math.min(said.ageMs, pace.repeatMs)]],
      Math.min(sinceTrialMs, pace.spacingMs),
    ];
  });
  const { trial, nextLoginAtMs } = machine;
  const { hasToken, running, accepts, isSilent, onDisk, changes, tokenEnds, armedMs } = world;
  const machineRest = [trial && [trial.name, trial.generation], relative(nextLoginAtMs, -1)];
  const worldRest = [hasToken, running, accepts, isSilent, onDisk, changes, tokenEnds, Math.round(armedMs)];
  return JSON.stringify([names, machineRest, worldRest]);
}

function firstWorld(bounds: TrialBounds): World {
  const monitor = { goodMs: 0, sinceTrialMs: Number.POSITIVE_INFINITY, said: undefined };
  const walk = new Walk(
    {
      machine: firstState,
      nowMs: 0,
      hasToken: false,
      running: undefined,
      armedMs: 0,
      accepts: { openbao_ca: 2, login: 2 },
      isSilent: false,
      onDisk: { openbao_ca: 1, login: 1 },
      changes: bounds.changes,
      tokenEnds: bounds.tokenEnds,
      monitors: { openbao_ca: monitor, login: monitor },
      from: undefined,
      label: 'the start',
    },
    bounds,
  );
  for (const name of trialNames) {
    walk.event({ kind: 'offered', name, generation: 1, local: localOf(name, 1, walk.world, bounds), isSame: false });
  }
  return walk.world;
}

function pathTo(world: World | undefined): string[] {
  const path: string[] = [];
  for (let at = world; at !== undefined; at = at.from) path.unshift(at.label);
  return path;
}

/** @param progress  told the number of states now and then */
export function exploreTrials(bounds: TrialBounds, progress: (states: number) => void = () => {}): TrialOutcome {
  const first = firstWorld(bounds);
  const seen = new Set([keyOf(first, bounds)]);
  let level = [first];
  while (level.length > 0) {
    const next: World[] = [];
    for (const world of level) {
      for (const { label, run } of movesOf(world, bounds)) {
        const walk = new Walk({ ...world, from: world, label }, bounds);
        try {
          run(walk);
          walk.change(settle(walk.world));
        } catch (error) {
          if (!(error instanceof Broken)) throw error;
          return { states: seen.size, violation: { sentence: sentences[error.sentence], path: pathTo(walk.world) } };
        }
        const key = keyOf(walk.world, bounds);
        if (seen.has(key)) continue;
        seen.add(key);
        next.push(walk.world);
        if (seen.size % 20_000 === 0) progress(seen.size);
      }
    }
    level = next;
  }
  return { states: seen.size, violation: undefined };
}
