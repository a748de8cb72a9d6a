// Feeds events to decide and performs its effects; owns the one timer. Events of an old plugin or an old timer carry their
// generation and are dropped. Makes no choice of its own.

import type { Counters, HealthMessage, PluginMessage, StartMessage } from '../../shared/channel/messages.ts';
import { confinementProblem } from '../../shared/confinement/confinement.ts';
import { type ErrorClass, errorClassOf } from '../../shared/errors/error.ts';
import type { Log } from '../../shared/log/fields.ts';
import type { Cancel, Clock } from '../../shared/time/clock.ts';
import type { SupervisorChannel } from '../channel/channel.ts';
import type { GateRefusal } from '../gate/gate.ts';
import type { ChildEnd } from './child.ts';
import { decide } from './decide.ts';
import { type Effect, type Event, firstState, policy, type ReplacementCause, type State } from './events.ts';
import { watchLiveness } from './liveness.ts';
import { type Custody, type Proposal, type Running, sendCredential, startRunning } from './running.ts';

/** A custody that counts only once it is adopted. */
export type Prepared = Custody & {
  readonly cause: ReplacementCause;
  /** How long the second plugin may take to be ready, at least. */
  readonly readyMs: number;
  readonly adopt: () => void;
  readonly abandon: () => void;
};

export type LoopDeps = {
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  /** Runs the gate; the first time all of it, and binds. `isReload`: reads the configuration again. Throws GateRefusal. */
  readonly gate: (isFirst: boolean, isReload: boolean) => Promise<Custody>;
  /** Runs the gate for a second plugin. Throws GateRefusal; nothing changed then. */
  readonly prepare: (cause: ReplacementCause) => Promise<Prepared>;
  readonly removeName: () => void;
  readonly counters: Counters;
  /** A health message came, or there is no plugin. */
  readonly healthChanged: (health: HealthMessage | undefined) => void;
  /** After every event: what the status line is made from. */
  readonly factsChanged: (facts: LifeFacts) => void;
};

export type LifeFacts = {
  readonly health: HealthMessage | undefined;
  readonly pluginPid: number | undefined;
  readonly refusedBy: string | undefined;
  /** Until the gate is tried again, while it refuses. */
  readonly nextTryMs: number | undefined;
  /** No reload is wanted, being prepared or going on. */
  readonly isReloadOver: boolean;
};

export type Loop = {
  readonly event: (event: Event) => void;
  /** Sends the credentials that changed on disk, if a plugin is there. */
  readonly credentialsChanged: () => void;
  readonly countersChanged: () => void;
  /** Resolves to the exit code. */
  readonly ended: Promise<number>;
};

/** A second plugin that was overtaken by a save is started again this often, then the first one stays. */
const greatestNextAttempts = 3;

export function createLoop(deps: LoopDeps): Loop {
  return new LifeLoop(deps);
}

class LifeLoop implements Loop {
  readonly #deps: LoopDeps;
  readonly #ended = Promise.withResolvers<number>();
  #state: State = firstState;
  #custody: Custody | undefined;
  /** In office. */
  #running: Running | undefined;
  /** Started beside it, to replace it. */
  #next: Running | undefined;
  #prepared: Prepared | undefined;
  #nextAttempts = 0;
  readonly #draining = new Map<number, SupervisorChannel>();
  #refusedBy: string | undefined;
  #generation = 0;
  #armedMs: number | undefined;
  #cancelTimer: Cancel = () => {};

  constructor(deps: LoopDeps) {
    this.#deps = deps;
    this.#perform({ kind: 'run_gate', isFirst: true, isReload: false });
  }

  get ended(): Promise<number> {
    return this.#ended.promise;
  }

  event = (event: Event): void => {
    const { state, effects } = decide(policy, this.#state, event, this.#deps.clock.nowMs(), this.#deps.random());
    this.#state = state;
    for (const effect of effects) this.#perform(effect);
    this.#tellFacts();
  };

  #tellFacts(): void {
    const state = this.#state;
    const isBlocked = state.kind === 'blocked';
    const isWanted = 'isReloadWanted' in state && state.isReloadWanted;
    const isPreparing = state.kind === 'serving' && state.isPreparing;
    this.#deps.factsChanged({
      health: this.#running?.lastHealth,
      pluginPid: this.#running?.child.pid,
      refusedBy: isBlocked ? this.#refusedBy : undefined,
      nextTryMs: isBlocked ? this.#armedMs : undefined,
      isReloadOver: !isWanted && !isPreparing && state.kind !== 'replacing',
    });
  }

  credentialsChanged = (): void => {
    for (const message of this.#custody?.credentials.look() ?? []) {
      const { name, generation } = message;
      const living = [this.#running, this.#next].filter((running) => running !== undefined);
      const isNew = living.some((running) => generation > (running.sent.get(name) ?? 0));
      if (isNew) this.#deps.log('info', 'credential.changed', { name, generation });
      for (const running of living) sendCredential(running, message);
    }
  };

  countersChanged = (): void => {
    this.#running?.channel.send({ kind: 'counters', counters: this.#deps.counters });
    this.#next?.channel.send({ kind: 'counters', counters: this.#deps.counters });
  };

  #perform(effect: Effect): void {
    switch (effect.kind) {
      case 'run_gate':
        return void this.#runGate(effect.isFirst, effect.isReload);
      case 'launch':
        return this.#launch();
      case 'kill':
        return this.#kill();
      case 'drain':
        return void this.#drain(effect.deadlineMs);
      case 'remove_name':
        return this.#deps.removeName();
      case 'arm':
        return this.#arm(effect.afterMs);
      case 'disarm':
        this.#armedMs = undefined;
        return this.#cancelTimer();
      case 'count':
        return this.#count(effect.reason);
      case 'prepare':
        return void this.#prepare(effect.cause);
      case 'drop_prepared':
        return this.#dropPrepared();
      case 'launch_next':
        this.#nextAttempts = 1;
        return this.#launchNext();
      case 'kill_next':
        return this.#killNext();
      case 'hand_over':
        return this.#handOver(effect.deadlineMs, effect.killMs);
      case 'replacement_failed':
        return this.#deps.log('warn', 'reload.refused', { reason: 'not_ready', hint: 'the plugin in office stays' });
      case 'end':
        this.#cancelTimer();
        return this.#ended.resolve(effect.exitCode);
    }
  }

  async #runGate(isFirst: boolean, isReload: boolean): Promise<void> {
    try {
      this.#custody = await this.#deps.gate(isFirst, isReload);
      this.event({ kind: 'gate_passed' });
    } catch (error) {
      this.event({ kind: 'gate_refused', exitCode: this.#refused(error) });
    }
  }

  #refused(error: unknown): number {
    const refusal = error as Partial<GateRefusal>;
    const check = refusal.check ?? 'gate.listeners';
    this.#countRefusal(check);
    this.#refusedBy = check;
    this.#deps.log('error', 'gate.refused', { check, reason: errorClassOf(error), hint: hintOf(error) });
    return refusal.exitCode ?? 5;
  }

  #countRefusal(check: string): void {
    const { gateRefusals } = this.#deps.counters;
    const name = check.replace(/^gate\./u, '');
    gateRefusals[name] = (gateRefusals[name] ?? 0) + 1;
  }

  #launch(): void {
    if (this.#custody !== undefined) this.#running = this.#start(this.#custody, 'now');
  }

  #start(custody: Custody, listen: StartMessage['listen']): Running {
    this.#generation += 1;
    const greeting = { listen, counters: this.#deps.counters, nowMs: this.#deps.clock.nowMs };
    const running = startRunning(custody, this.#generation, greeting, {
      receive: this.#receive,
      violated: this.#violated,
      ended: this.#childEnded,
    });
    this.#deps.log('info', 'plugin.started', { pid: running.child.pid, generation: running.generation });
    return running;
  }

  #violated = (errorClass: ErrorClass, running: Running): void => {
    this.#deps.log('error', 'plugin.violation', { error_class: errorClass, generation: running.generation });
    if (running === this.#next) return this.event({ kind: 'next_failed' });
    if (running === this.#running) return this.event({ kind: 'unfit', reason: 'violation' });
    running.child.kill();
  };

  #childEnded = (running: Running, { reason, exitCode, signal }: ChildEnd): void => {
    const { generation, child } = running;
    const isOffice = running === this.#running;
    const isNext = running === this.#next;
    const level = isOffice || isNext ? 'warn' : 'info';
    this.#deps.log(level, 'plugin.exited', { pid: child.pid, generation, exit_code: exitCode, signal });
    if (isNext) {
      this.#next = undefined;
      return this.event({ kind: 'next_failed' });
    }
    if (!isOffice) return;
    this.#forget();
    this.event({ kind: 'exited', reason });
  };

  async #prepare(cause: ReplacementCause): Promise<void> {
    try {
      const prepared = await this.#deps.prepare(cause);
      this.#prepared = prepared;
      this.event({ kind: 'prepared', cause, readyMs: prepared.readyMs });
    } catch (error) {
      const check = (error as Partial<GateRefusal>).check ?? 'gate.listeners';
      this.#countRefusal(check);
      const event = cause === 'reload' ? 'reload.refused' : 'socket.repair_refused';
      this.#deps.log('warn', event, { check, reason: errorClassOf(error), hint: hintOf(error) });
      this.event({ kind: 'preparation_failed' });
    }
  }

  #dropPrepared(): void {
    this.#prepared?.abandon();
    this.#prepared = undefined;
  }

  #launchNext(): void {
    if (this.#prepared === undefined) return;
    // While the name is lost nobody can connect to the one in office: the second one need not wait until it is healthy.
    const isLost = this.#prepared.cause === 'socket_lost';
    const listen = !isLost && this.#running?.lastHealth?.healthz === 'ok' ? 'when_healthy' : 'now';
    this.#next = this.#start(this.#prepared, listen);
  }

  #killNext(): void {
    this.#next?.child.kill();
    this.#next?.liveness?.stop();
    this.#next = undefined;
    this.#dropPrepared();
  }

  /** Office passes only if the state on disk is still the one that the new plugin was started with. */
  async #nextReady(next: Running): Promise<void> {
    await next.custody.store.idle();
    if (this.#next !== next) return;
    if (next.custody.store.current?.currentHash === next.startedWith) return this.event({ kind: 'next_ready' });
    this.#nextAttempts += 1;
    if (this.#nextAttempts > greatestNextAttempts) return this.event({ kind: 'next_failed' });
    this.#next = undefined;
    next.child.kill();
    this.#launchNext();
  }

  #handOver(deadlineMs: number, killMs: number): void {
    const before = this.#running;
    const next = this.#next;
    if (next === undefined) return;
    const event = this.#prepared?.cause === 'socket_lost' ? 'socket.repaired' : 'reload.done';
    this.#prepared?.adopt();
    this.#custody = next.custody;
    this.#prepared = undefined;
    this.#running = next;
    this.#next = undefined;
    this.#watchLiveness(next);
    if (next.lastHealth !== undefined) this.#deps.healthChanged(next.lastHealth);
    if (before !== undefined) this.#retire(before, deadlineMs, killMs);
    this.#deps.log('info', event, { generation: next.generation });
    if (next.early !== undefined) this.#proposed(next.early, next.generation);
  }

  #retire(before: Running, deadlineMs: number, killMs: number): void {
    before.liveness?.stop();
    before.channel.setPhase('draining');
    this.#draining.set(before.generation, before.channel);
    before.channel.send({ kind: 'drain', reason: 'replace', deadlineMs });
    before.cancelKill = this.#deps.clock.after(killMs, before.child.kill);
    void before.child.ended.then(() => {
      before.cancelKill();
      this.#draining.delete(before.generation);
    });
  }

  #receive = (message: PluginMessage, generation: number): void => {
    const from = [this.#running, this.#next].find((running) => running?.generation === generation);
    const isNext = from !== undefined && from === this.#next;
    switch (message.kind) {
      case 'ready':
        return from === undefined ? undefined : this.#ready(message, from, isNext);
      case 'health':
        if (from === undefined) return;
        from.lastHealth = message;
        if (isNext) return;
        this.#deps.healthChanged(message);
        return this.#tellFacts();
      case 'propose':
        return this.#proposed(message, generation);
      case 'pong':
        return from?.liveness?.pong(message.id);
      case 'credential_result':
        return from === undefined || isNext ? undefined : this.#credentialResult(message);
      case 'giving_up':
        if (from === undefined) return;
        this.#deps.log('error', 'plugin.giving_up', { error_class: message.class, generation });
        if (isNext) return this.event({ kind: 'next_failed' });
        return this.event({ kind: 'giving_up', canRelaunchHelp: message.canRelaunchHelp });
      // Of a task, never of a plugin that serves: the channel refuses it.
      case 'report':
        return;
      case 'drained':
        return this.#deps.log('info', 'plugin.drained', { calls_cut: message.cut, generation });
    }
  };

  #ready(message: Extract<PluginMessage, { kind: 'ready' }>, from: Running, isNext: boolean): void {
    const { privilege } = from.custody;
    const problem = message.isPermissionModelOn
      ? confinementProblem(message.confinement, privilege)
      : 'permission_model';
    if (problem !== undefined) {
      this.#deps.log('error', 'plugin.unconfined', { reason: problem, privilege: privilege.kind });
      return this.event(isNext ? { kind: 'next_failed' } : { kind: 'unfit', reason: 'confinement' });
    }
    if (isNext) return void this.#nextReady(from);
    this.#watchLiveness(from);
    this.event({ kind: 'ready' });
  }

  #watchLiveness(running: Running): void {
    const ping = (id: number) => running.channel.send({ kind: 'ping', id });
    running.liveness = watchLiveness(this.#deps.clock, ping, () => this.event({ kind: 'unfit', reason: 'hung' }));
  }

  /** Only the plugin in office proposes; a proposal that was overtaken by a hand-over is refused, which is no violation. */
  #proposed(proposal: Proposal, generation: number): void {
    const { commitId, state } = proposal;
    const running = this.#running;
    if (running?.generation === generation) return void this.#commit(commitId, state, running);
    // Said after its `ready`, while we made sure that office may pass: decided once it has passed.
    if (this.#next?.generation === generation) {
      this.#next.early = proposal;
      return;
    }
    const late = this.#draining.get(generation);
    late?.send({ kind: 'committed', commitId, outcome: 'refused', onDisk: 'other' });
  }

  async #commit(commitId: number, state: string, running: Running): Promise<void> {
    try {
      const result = await running.custody.store.commit(state);
      if (result.outcome === 'failed') {
        const hint = 'is the state directory writable and the file system not full?';
        this.#deps.log('warn', 'state.save_failed', { reason: result.onDisk, hint });
      }
      running.channel.send({ kind: 'committed', commitId, ...result });
    } catch (error) {
      this.#deps.log('error', 'state.refused', { error_class: errorClassOf(error) });
      if (this.#running === running) this.event({ kind: 'unfit', reason: 'violation' });
      else running.child.kill();
    }
  }

  #credentialResult(message: Extract<PluginMessage, { kind: 'credential_result' }>): void {
    const { name, generation, result } = message;
    if (result === 'in_use') return this.#deps.log('info', 'credential.in_use', { name, generation });
    this.#deps.log('warn', 'credential.refused', { name, generation, reason: message.class });
    const key = `${name} ${message.class ?? 'unknown'}`;
    const { credentialRefusals } = this.#deps.counters;
    credentialRefusals[key] = (credentialRefusals[key] ?? 0) + 1;
    this.countersChanged();
  }

  async #drain(deadlineMs: number): Promise<void> {
    await this.#custody?.store.idle();
    this.#running?.channel.setPhase('draining');
    this.#running?.channel.send({ kind: 'drain', reason: 'stop', deadlineMs });
  }

  #kill(): void {
    this.#running?.child.kill();
    this.#forget();
  }

  #forget(): void {
    this.#running?.liveness?.stop();
    this.#running = undefined;
    this.#deps.healthChanged(undefined);
  }

  #arm(afterMs: number): void {
    this.#cancelTimer();
    this.#armedMs = afterMs;
    this.#cancelTimer = this.#deps.clock.after(afterMs, () => this.event({ kind: 'timer' }));
  }

  #count(reason: string): void {
    const { restarts } = this.#deps.counters;
    restarts[reason] = (restarts[reason] ?? 0) + 1;
    this.countersChanged();
  }
}

function hintOf(error: unknown): string {
  return error instanceof Error && errorClassOf(error) !== 'internal' ? error.message : 'an error of our own';
}
