// Feeds events to decide and performs its effects; owns the one timer. Makes no choice of its own. Which plugin is the incumbent
// is the business of incumbent.ts, which drops the events of a plugin that has gone.

import type { Counters, HealthMessage, PortName } from '../../shared/channel/messages.ts';
import { type ErrorClass, errorClassOf } from '../../shared/errors/error.ts';
import { exitCodes } from '../../shared/errors/exit-codes.ts';
import type { LogEventName } from '../../shared/log/events.ts';
import type { Log } from '../../shared/log/fields.ts';
import type { Cancel, Clock } from '../../shared/time/clock.ts';
import type { Custody } from '../launch/running.ts';
import { type GateRefusal, refusalFields } from '../refusal.ts';
import { decide } from './decide.ts';
import { type Effect, type Event, firstState, policy, type ReplacementCause, type State } from './events.ts';
import { Incumbent } from './incumbent.ts';

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
  /** A start was refused: what the service manager is to show. */
  readonly startRefused: (refusal: Refusal) => void;
  /** A state could not be saved because its directory is gone. */
  readonly stateDirectoryGone: () => void;
  /** A plugin could not open ports that it was given. */
  readonly portsUnopened: (names: readonly PortName[]) => void;
  /** A plugin became the incumbent: it listens on what it was given. */
  readonly becameIncumbent: () => void;
  /** After every event: what the status line is made from. */
  readonly factsChanged: (facts: LifeFacts) => void;
};

export type Refusal = { readonly check: string; readonly reason: ErrorClass; readonly hint: string };

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
  /** Whether there is an incumbent. */
  readonly hasPlugin: () => boolean;
  /** Whether the incumbent is ready: it listens on what it was given. */
  readonly isServing: () => boolean;
  /** Whether the incumbent has a credential that goes on, or may still log in; true as well while there is none. */
  readonly hasCredential: () => boolean;
  /** Resolves to the exit code. */
  readonly ended: Promise<number>;
};

const effectHint = 'an error of our own; everything is put away and begun anew. Please report it';

const refusalEvents: Readonly<Record<ReplacementCause, LogEventName>> = {
  reload: 'reload.refused',
  socket_lost: 'socket.repair_refused',
  port_bound: 'port.repair_refused',
};

export function createLoop(deps: LoopDeps): Loop {
  return new LifeLoop(deps);
}

class LifeLoop implements Loop {
  readonly #deps: LoopDeps;
  readonly #ended = Promise.withResolvers<number>();
  #state: State = firstState;
  #custody: Custody | undefined;
  readonly #incumbent: Incumbent;
  #prepared: Prepared | undefined;
  #refusedBy: string | undefined;
  #armedMs: number | undefined;
  #cancelTimer: Cancel = () => {};

  constructor(deps: LoopDeps) {
    this.#deps = deps;
    const { clock, log, counters } = deps;
    const healthChanged = (health: HealthMessage | undefined) => {
      deps.healthChanged(health);
      this.#tellFacts();
    };
    const { stateDirectoryGone, portsUnopened, becameIncumbent } = deps;
    const { event } = this;
    this.#incumbent = new Incumbent({
      clock,
      log,
      counters,
      event,
      healthChanged,
      stateDirectoryGone,
      portsUnopened,
      becameIncumbent,
    });
    if (!this.#try({ kind: 'run_gate', isFirst: true, isReload: false })) this.event({ kind: 'effect_failed' });
  }

  get ended(): Promise<number> {
    return this.#ended.promise;
  }

  event = (event: Event): void => {
    const { state, effects } = decide(policy, this.#state, event, this.#deps.clock.nowMs(), this.#deps.random());
    this.#state = state;
    // All of them are tried: what follows may be what ends the state of affairs in which one cannot be done.
    const failed = effects.filter((effect) => !this.#try(effect));
    if (failed.length > 0) this.#standBack(event, failed);
    this.#tellFacts();
  };

  /** @returns whether it was done, as far as that shows at once */
  #try(effect: Effect): boolean {
    try {
      this.#perform(effect);
      return true;
    } catch (error) {
      this.#tellFailure(effect.kind, error);
      return false;
    }
  }

  /** Where not even that can be done which is done after a failure, only a new process helps. */
  #standBack(event: Event, failed: readonly Effect[]): void {
    const isVital = failed.some(({ kind }) => kind === 'arm' || kind === 'end');
    if (event.kind === 'effect_failed' && isVital) return this.#ended.resolve(exitCodes.runtime);
    if (event.kind !== 'effect_failed') this.event({ kind: 'effect_failed' });
  }

  /** For what goes on after it was begun. */
  #failed =
    (effect: Effect['kind']) =>
    (error: unknown): void => {
      this.#tellFailure(effect, error);
      this.event({ kind: 'effect_failed' });
    };

  /** The log may be what failed. */
  #tellFailure(name: Effect['kind'], error: unknown): void {
    try {
      this.#deps.log('error', 'effect.failed', { name, error_class: errorClassOf(error), hint: effectHint });
    } catch {
      // There is nobody left to tell.
    }
  }

  #tellFacts(): void {
    const state = this.#state;
    const isBlocked = state.kind === 'blocked';
    const isWanted = 'isReloadWanted' in state && state.isReloadWanted;
    const isPreparing = state.kind === 'serving' && state.isPreparing;
    this.#deps.factsChanged({
      health: this.#incumbent.health,
      pluginPid: this.#incumbent.pid,
      refusedBy: isBlocked ? this.#refusedBy : undefined,
      nextTryMs: isBlocked ? this.#armedMs : undefined,
      isReloadOver: !isWanted && !isPreparing && state.kind !== 'replacing',
    });
  }

  credentialsChanged = (): void => {
    if (this.#custody !== undefined) this.#incumbent.credentialsChanged(this.#custody);
  };

  countersChanged = (): void => this.#incumbent.countersChanged();

  hasPlugin = (): boolean => this.#incumbent.pid !== undefined;

  isServing = (): boolean => this.#state.kind === 'serving' || this.#state.kind === 'replacing';

  hasCredential = (): boolean => this.#incumbent.hasCredential;

  #perform(effect: Effect): void {
    switch (effect.kind) {
      case 'run_gate':
        return void this.#runGate(effect.isFirst, effect.isReload).catch(this.#failed('run_gate'));
      case 'launch':
        if (this.#custody !== undefined) this.#incumbent.launch(this.#custody);
        return;
      case 'kill':
        return this.#incumbent.kill();
      case 'drain':
        return void this.#incumbent.drain(effect.deadlineMs).catch(this.#failed('drain'));
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
        return void this.#prepare(effect.cause).catch(this.#failed('prepare'));
      case 'drop_prepared':
        return this.#dropPrepared();
      case 'launch_next':
        if (this.#prepared !== undefined) this.#incumbent.launchNext(this.#prepared, this.#prepared.cause);
        return;
      case 'kill_next':
        this.#incumbent.killNext();
        return this.#dropPrepared();
      case 'hand_over':
        return this.#handOver(effect.deadlineMs, effect.killMs);
      case 'replacement_failed':
        return this.#deps.log('warn', refusalEvents[effect.cause], {
          reason: 'not_ready',
          hint: 'the new plugin did not become ready; its lines before this one say why; the plugin that serves goes on',
        });
      case 'refuse_start':
        return void this.#refused(this.#incumbent.givenUp, true);
      case 'end':
        this.#ended.resolve(effect.exitCode);
        return this.#cancelTimer();
    }
  }

  async #runGate(isFirst: boolean, isReload: boolean): Promise<void> {
    try {
      this.#custody = await this.#deps.gate(isFirst, isReload);
    } catch (error) {
      return this.event({ kind: 'gate_refused', exitCode: this.#refused(error, isFirst) });
    }
    // Outside: what goes wrong afterwards is no refusal of the gate.
    this.event({ kind: 'gate_passed' });
  }

  #refused(error: unknown, isFirst: boolean): number {
    const refusal = error as Partial<GateRefusal> | undefined;
    const check = refusal?.check ?? 'gate.listeners';
    this.#countRefusal(check);
    this.#refusedBy = check;
    const told = refusalFields(error);
    this.#deps.log('error', 'gate.refused', { check, ...told });
    if (isFirst) this.#deps.startRefused({ check, reason: errorClassOf(error), hint: told.hint });
    return refusal?.exitCode ?? exitCodes.runtime;
  }

  #countRefusal(check: string): void {
    const { gateRefusals } = this.#deps.counters;
    const name = check.replace(/^gate\./u, '');
    gateRefusals[name] = (gateRefusals[name] ?? 0) + 1;
  }

  async #prepare(cause: ReplacementCause): Promise<void> {
    try {
      const prepared = await this.#deps.prepare(cause);
      this.#prepared = prepared;
      this.event({ kind: 'prepared', cause, readyMs: prepared.readyMs });
    } catch (error) {
      const check = (error as Partial<GateRefusal>).check ?? 'gate.listeners';
      this.#countRefusal(check);
      this.#deps.log('warn', refusalEvents[cause], { check, ...refusalFields(error) });
      this.event({ kind: 'preparation_failed' });
    }
  }

  #handOver(deadlineMs: number, killMs: number): void {
    this.#prepared?.adopt(); // step: reload.adopt
    this.#prepared = undefined;
    this.#custody = this.#incumbent.handOver(deadlineMs, killMs) ?? this.#custody;
  }

  #dropPrepared(): void {
    this.#prepared?.abandon();
    this.#prepared = undefined;
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
