// Feeds events to decide and performs its effects; owns the one timer. Events of an old plugin or an old timer carry their
// generation and are dropped. Makes no choice of its own.

import type { Counters, HealthMessage, PluginMessage, StartMessage } from '../../shared/channel/messages.ts';
import { confinementProblem, type Privilege } from '../../shared/confinement/confinement.ts';
import { errorClassOf } from '../../shared/errors/error.ts';
import type { Log } from '../../shared/log/fields.ts';
import { encodeState } from '../../shared/registry/state.ts';
import type { Cancel, Clock } from '../../shared/time/clock.ts';
import { openSupervisorChannel, type SupervisorChannel } from '../channel/channel.ts';
import type { CredentialCustody } from '../custody/credentials.ts';
import type { StateStore } from '../custody/state-store.ts';
import type { GateRefusal } from '../gate/gate.ts';
import type { Child, ChildEnd } from './child.ts';
import { decide, type Effect, type Event, firstState, policy, type State } from './decide.ts';
import { type Liveness, watchLiveness } from './liveness.ts';

export type LoopDeps = {
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  /** Runs the gate; the first time all of it, and binds. Throws GateRefusal. */
  readonly gate: (isFirst: boolean) => Promise<Custody>;
  /** Reads the configuration again and runs the gate for a second plugin. Throws GateRefusal; nothing changed then. */
  readonly prepareReload: () => Promise<
    Custody & { readonly readyMs: number; readonly adopt: () => void; readonly abandon: () => void }
  >;
  readonly launch: () => Child;
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
  /** No reload is being prepared or going on. */
  readonly isReloadOver: boolean;
};

/** What the gate left in our hands for a plugin. */
export type Custody = {
  readonly store: StateStore;
  readonly credentials: CredentialCustody;
  readonly privilege: Privilege;
  /** The `start` message without what changes between plugins. */
  readonly start: Omit<StartMessage, 'state' | 'stable' | 'counters' | 'credentialCount' | 'listen'>;
};

export type Loop = {
  readonly event: (event: Event) => void;
  /** Sends the credentials that changed on disk, if a plugin is there. */
  readonly credentialsChanged: () => void;
  readonly countersChanged: () => void;
  /** Resolves to the exit code. */
  readonly ended: Promise<number>;
};

type Running = {
  readonly generation: number;
  readonly child: Child;
  readonly channel: SupervisorChannel;
  /** The state it was started with. */
  readonly startedWith: string | undefined;
  readonly custody: Custody;
  liveness: Liveness | undefined;
  lastHealth: HealthMessage | undefined;
  cancelKill: Cancel;
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
  #prepared: (Custody & { readonly adopt: () => void; readonly abandon: () => void }) | undefined;
  #nextAttempts = 0;
  readonly #draining = new Map<number, SupervisorChannel>();
  #isPreparing = false;
  #refusedBy: string | undefined;
  #generation = 0;
  #cancelTimer: Cancel = () => {};

  constructor(deps: LoopDeps) {
    this.#deps = deps;
    this.#perform({ kind: 'run_gate', isFirst: true });
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
    this.#deps.factsChanged({
      health: this.#running?.lastHealth,
      pluginPid: this.#running?.child.pid,
      refusedBy: this.#state.kind === 'blocked' ? this.#refusedBy : undefined,
      isReloadOver: !this.#isPreparing && this.#state.kind !== 'replacing',
    });
  }

  credentialsChanged = (): void => {
    const changed = this.#custody?.credentials.changed() ?? [];
    for (const message of changed) {
      this.#deps.log('info', 'credential.changed', { name: message.name, generation: message.generation });
      this.#running?.channel.send(message);
      this.#next?.channel.send(message);
    }
  };

  countersChanged = (): void => {
    this.#running?.channel.send({ kind: 'counters', counters: this.#deps.counters });
    this.#next?.channel.send({ kind: 'counters', counters: this.#deps.counters });
  };

  #perform(effect: Effect): void {
    switch (effect.kind) {
      case 'run_gate':
        return void this.#runGate(effect.isFirst);
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
        return this.#cancelTimer();
      case 'count':
        return this.#count(effect.reason);
      case 'prepare_reload':
        return void this.#prepareReload();
      case 'launch_next':
        this.#nextAttempts = 1;
        return this.#launchNext();
      case 'kill_next':
        return this.#killNext();
      case 'hand_over':
        return this.#handOver(effect.deadlineMs, effect.killMs);
      case 'reload_failed':
        return this.#deps.log('warn', 'reload.refused', { reason: 'not_ready', hint: 'the plugin in office stays' });
      case 'end':
        this.#cancelTimer();
        return this.#ended.resolve(effect.exitCode);
    }
  }

  async #runGate(isFirst: boolean): Promise<void> {
    try {
      this.#custody = await this.#deps.gate(isFirst);
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
    const hint = error instanceof Error && errorClassOf(error) !== 'internal' ? error.message : 'an error of our own';
    this.#deps.log('error', 'gate.refused', { check, reason: errorClassOf(error), hint });
    return refusal.exitCode ?? 5;
  }

  #countRefusal(check: string): void {
    const { gateRefusals } = this.#deps.counters;
    const name = check.replace(/^gate\./u, '');
    gateRefusals[name] = (gateRefusals[name] ?? 0) + 1;
  }

  #launch(): void {
    if (this.#custody === undefined) return;
    this.#running = this.#start(this.#custody, 'now', (generation) => this.#running?.generation === generation);
  }

  /** @param isCurrent  whether a generation still is the one whose events count */
  #start(custody: Custody, listen: StartMessage['listen'], isCurrent: (generation: number) => boolean): Running {
    this.#generation += 1;
    const generation = this.#generation;
    const child = this.#deps.launch();
    const channel = openSupervisorChannel(
      child.channel,
      {
        receive: (message) => this.#receive(message, generation),
        violated: (errorClass) => {
          this.#deps.log('error', 'plugin.violation', { error_class: errorClass, generation });
          if (generation === this.#next?.generation) return this.event({ kind: 'next_failed' });
          if (isCurrent(generation)) this.event({ kind: 'unfit', reason: 'violation' });
          else child.kill();
        },
      },
      this.#deps.clock.nowMs,
    );
    this.#deps.log('info', 'plugin.started', { pid: child.pid, generation });
    this.#greet(channel, custody, listen);
    void child.ended.then((end) => this.#childEnded(generation, child.pid, end));
    const startedWith = custody.store.current?.currentHash;
    return {
      generation,
      child,
      channel,
      startedWith,
      custody,
      liveness: undefined,
      lastHealth: undefined,
      cancelKill: () => {},
    };
  }

  #childEnded(generation: number, pid: number | undefined, { reason, exitCode, signal }: ChildEnd): void {
    const isDrained = generation !== this.#running?.generation && generation !== this.#next?.generation;
    this.#deps.log(isDrained ? 'info' : 'warn', 'plugin.exited', { pid, generation, exit_code: exitCode, signal });
    if (generation === this.#next?.generation) {
      this.#next = undefined;
      return this.event({ kind: 'next_failed' });
    }
    if (isDrained) return;
    this.#forget();
    this.event({ kind: 'exited', reason });
  }

  async #prepareReload(): Promise<void> {
    if (this.#isPreparing) return;
    this.#isPreparing = true;
    try {
      const prepared = await this.#deps.prepareReload();
      this.#prepared = prepared;
      this.event({ kind: 'reload_passed', readyMs: prepared.readyMs });
    } catch (error) {
      const check = (error as Partial<GateRefusal>).check ?? 'gate.config';
      const hint = error instanceof Error && errorClassOf(error) !== 'internal' ? error.message : 'an error of our own';
      this.#countRefusal(check);
      this.#deps.log('warn', 'reload.refused', { check, reason: errorClassOf(error), hint });
    } finally {
      this.#isPreparing = false;
      this.#tellFacts();
    }
  }

  #launchNext(): void {
    if (this.#prepared === undefined) return;
    const listen = this.#running?.lastHealth?.healthz === 'ok' ? 'when_healthy' : 'now';
    this.#next = this.#start(this.#prepared, listen, () => false);
  }

  #killNext(): void {
    this.#next?.child.kill();
    this.#next?.liveness?.stop();
    this.#next = undefined;
    this.#prepared?.abandon();
    this.#prepared = undefined;
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
    this.#prepared?.adopt();
    this.#custody = next.custody;
    this.#prepared = undefined;
    this.#running = next;
    this.#next = undefined;
    this.#watchLiveness(next);
    if (next.lastHealth !== undefined) this.#deps.healthChanged(next.lastHealth);
    if (before === undefined) return;
    before.liveness?.stop();
    before.channel.setPhase('draining');
    this.#draining.set(before.generation, before.channel);
    before.channel.send({ kind: 'drain', reason: 'replace', deadlineMs });
    before.cancelKill = this.#deps.clock.after(killMs, before.child.kill);
    void before.child.ended.then(() => {
      before.cancelKill();
      this.#draining.delete(before.generation);
    });
    this.#deps.log('info', 'reload.done', { generation: next.generation });
  }

  #greet(channel: SupervisorChannel, { store, credentials, start }: Custody, listen: StartMessage['listen']): void {
    const messages = credentials.all();
    channel.send({
      ...start,
      listen,
      counters: this.#deps.counters,
      credentialCount: messages.length,
      ...(store.current === undefined ? {} : { state: encodeState(store.current) }),
      ...(store.stable === undefined ? {} : { stable: store.stable }),
    });
    for (const message of messages) channel.send(message);
  }

  #receive(message: PluginMessage, generation: number): void {
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
        this.#deps.log('error', 'plugin.giving_up', { error_class: message.class, generation });
        if (isNext) return this.event({ kind: 'next_failed' });
        return this.event({ kind: 'giving_up', canRelaunchHelp: message.canRelaunchHelp });
      case 'drained':
        return this.#deps.log('info', 'plugin.drained', { calls_cut: message.cut, generation });
    }
  }

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
  #proposed({ commitId, state }: Extract<PluginMessage, { kind: 'propose' }>, generation: number): void {
    const running = this.#running;
    if (running?.generation === generation) return void this.#commit(commitId, state, running.custody);
    const late = this.#draining.get(generation);
    late?.send({ kind: 'committed', commitId, outcome: 'refused', onDisk: 'other' });
  }

  async #commit(commitId: number, state: string, { store }: Custody): Promise<void> {
    const running = this.#running;
    try {
      const result = await store.commit(state);
      if (result.outcome === 'failed') {
        const hint = 'is the state directory writable and the file system not full?';
        this.#deps.log('warn', 'state.save_failed', { reason: result.onDisk, hint });
      }
      running?.channel.send({ kind: 'committed', commitId, ...result });
    } catch (error) {
      this.#deps.log('error', 'state.refused', { error_class: errorClassOf(error) });
      if (this.#running === running) this.event({ kind: 'unfit', reason: 'violation' });
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
    this.#cancelTimer = this.#deps.clock.after(afterMs, () => this.event({ kind: 'timer' }));
  }

  #count(reason: string): void {
    const { restarts } = this.#deps.counters;
    restarts[reason] = (restarts[reason] ?? 0) + 1;
    this.countersChanged();
  }
}
