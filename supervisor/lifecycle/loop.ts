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
import type { Child } from './child.ts';
import { decide, type Effect, type Event, firstState, policy, type State } from './decide.ts';
import { type Liveness, watchLiveness } from './liveness.ts';

export type LoopDeps = {
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  /** Runs the gate; the first time all of it, and binds. Throws GateRefusal. */
  readonly gate: (isFirst: boolean) => Promise<Custody>;
  readonly launch: () => Child;
  readonly removeName: () => void;
  readonly counters: Counters;
  /** A health message came, or there is no plugin. */
  readonly healthChanged: (health: HealthMessage | undefined) => void;
};

/** What the gate left in our hands for a plugin. */
export type Custody = {
  readonly store: StateStore;
  readonly credentials: CredentialCustody;
  readonly privilege: Privilege;
  /** The `start` message without what changes between plugins. */
  readonly start: Omit<StartMessage, 'state' | 'stable' | 'counters' | 'credentialCount'>;
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
  liveness: Liveness | undefined;
};

export function createLoop(deps: LoopDeps): Loop {
  return new LifeLoop(deps);
}

class LifeLoop implements Loop {
  readonly #deps: LoopDeps;
  readonly #ended = Promise.withResolvers<number>();
  #state: State = firstState;
  #custody: Custody | undefined;
  #running: Running | undefined;
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
  };

  credentialsChanged = (): void => {
    const changed = this.#custody?.credentials.changed() ?? [];
    for (const message of changed) {
      this.#deps.log('info', 'credential.changed', { name: message.name, generation: message.generation });
      this.#running?.channel.send(message);
    }
  };

  countersChanged = (): void => {
    this.#running?.channel.send({ kind: 'counters', counters: this.#deps.counters });
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
      case 'refuse_reload':
        return this.#deps.log('warn', 'reload.refused', {
          reason: 'not_available',
          hint: 'restart the service instead',
        });
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
    const { gateRefusals } = this.#deps.counters;
    const name = check.replace(/^gate\./u, '');
    gateRefusals[name] = (gateRefusals[name] ?? 0) + 1;
    const hint = error instanceof Error && errorClassOf(error) !== 'internal' ? error.message : 'an error of our own';
    this.#deps.log('error', 'gate.refused', { check, reason: errorClassOf(error), hint });
    return refusal.exitCode ?? 5;
  }

  #launch(): void {
    const custody = this.#custody;
    if (custody === undefined) return;
    this.#generation += 1;
    const generation = this.#generation;
    const child = this.#deps.launch();
    const isCurrent = () => this.#running?.generation === generation;
    const channel = openSupervisorChannel(
      child.channel,
      {
        receive: (message) => (isCurrent() ? this.#receive(message, custody) : undefined),
        violated: (errorClass) => {
          if (!isCurrent()) return;
          this.#deps.log('error', 'plugin.violation', { error_class: errorClass });
          this.event({ kind: 'unfit', reason: 'violation' });
        },
      },
      this.#deps.clock.nowMs,
    );
    this.#running = { generation, child, channel, liveness: undefined };
    this.#deps.log('info', 'plugin.started', { pid: child.pid, generation });
    this.#greet(channel, custody);
    void child.ended.then(({ reason, exitCode, signal }) => {
      this.#deps.log('warn', 'plugin.exited', { pid: child.pid, exit_code: exitCode, signal });
      if (!isCurrent()) return;
      this.#forget();
      this.event({ kind: 'exited', reason });
    });
  }

  #greet(channel: SupervisorChannel, { store, credentials, start }: Custody): void {
    const messages = credentials.all();
    channel.send({
      ...start,
      counters: this.#deps.counters,
      credentialCount: messages.length,
      ...(store.current === undefined ? {} : { state: encodeState(store.current) }),
      ...(store.stable === undefined ? {} : { stable: store.stable }),
    });
    for (const message of messages) channel.send(message);
  }

  #receive(message: PluginMessage, custody: Custody): void {
    switch (message.kind) {
      case 'ready':
        return this.#ready(message, custody);
      case 'health':
        return this.#deps.healthChanged(message);
      case 'propose':
        return void this.#commit(message.commitId, message.state, custody);
      case 'pong':
        return this.#running?.liveness?.pong(message.id);
      case 'credential_result':
        return this.#credentialResult(message);
      case 'giving_up':
        this.#deps.log('error', 'plugin.giving_up', { error_class: message.class });
        return this.event({ kind: 'giving_up', canRelaunchHelp: message.canRelaunchHelp });
      case 'drained':
        return this.#deps.log('info', 'plugin.drained', { calls_cut: message.cut });
    }
  }

  #ready(message: Extract<PluginMessage, { kind: 'ready' }>, { privilege }: Custody): void {
    const problem = message.isPermissionModelOn
      ? confinementProblem(message.confinement, privilege)
      : 'permission_model';
    if (problem !== undefined) {
      this.#deps.log('error', 'plugin.unconfined', { reason: problem, privilege: privilege.kind });
      return this.event({ kind: 'unfit', reason: 'confinement' });
    }
    const running = this.#running;
    if (running !== undefined) {
      const ping = (id: number) => running.channel.send({ kind: 'ping', id });
      running.liveness = watchLiveness(this.#deps.clock, ping, () => this.event({ kind: 'unfit', reason: 'hung' }));
    }
    this.event({ kind: 'ready' });
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
  }
}
