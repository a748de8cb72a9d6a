// Which plugin is the incumbent, the one that serves; the next one, which is to replace it; and those that still drain. What they say
// is checked against that here: only the incumbent proposes, only after its `ready`, and a hand-over waits for a state at rest.

import type {
  Counters,
  CredentialMessage,
  HealthMessage,
  PluginMessage,
  PortName,
  StartMessage,
} from '../../shared/channel/messages.ts';
import { confinementProblem } from '../../shared/confinement/confinement.ts';
import { type ErrorClass, errorClassOf } from '../../shared/errors/error.ts';
import { exitCodes } from '../../shared/errors/exit-codes.ts';
import { credentialHintOf } from '../../shared/errors/hints.ts';
import { isCredentialRefusal } from '../../shared/errors/policy.ts';
import type { LogEventName } from '../../shared/log/events.ts';
import type { Log } from '../../shared/log/fields.ts';
import type { Clock } from '../../shared/time/clock.ts';
import { createSpacing } from '../../shared/time/spacing.ts';
import type { SupervisorChannel } from '../channel/channel.ts';
import type { ChildEnd } from '../launch/child.ts';
import { watchLiveness } from '../launch/liveness.ts';
import { type Custody, type Proposal, type Running, sendCredential, startRunning } from '../launch/running.ts';
import { GateRefusal, refusalFields } from '../refusal.ts';
import { type Commits, createCommits } from './commits.ts';
import { type CredentialResult, CredentialResults } from './credential-results.ts';
import { departureReasons } from './departure.ts';
import type { Event, ReplacementCause } from './events.ts';
import { refusalOf } from './giving-up.ts';

export type IncumbentDeps = {
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  /** Feeds the machine. */
  readonly event: (event: Event) => void;
  /** The incumbent said how it is; undefined: there is none. */
  readonly healthChanged: (health: HealthMessage | undefined) => void;
  /** A state could not be saved because its directory is gone. */
  readonly stateDirectoryGone: () => void;
  /** A plugin could not open ports that it was given: somebody else listens there. */
  readonly portsUnopened: (names: readonly PortName[]) => void;
  /** A plugin became the incumbent: it listens on what it was given. */
  readonly becameIncumbent: () => void;
};

const handOverEvents: Readonly<Record<ReplacementCause, LogEventName>> = {
  reload: 'reload.done',
  socket_lost: 'socket.repaired',
  port_bound: 'port.served',
};

/** A plugin that has just started may still be logging in, milliseconds. */
const loginGraceMs = 10_000;
const stuckHint = 'the plugin left more than 1 MiB unread for 5 s and is replaced';
const clockToldEveryMs = 60_000;
const clockHint = 'the clock of this node stands before a time in the state: times cannot be judged; correct the clock';
/** How long a plugin that is ready and not healthy yet may leave one that is well in service. */
const proofMs = 3_000;
/** A second plugin that was overtaken by a save is started again this often, then the first one stays. */
const maxNextAttempts = 3;

export class Incumbent {
  readonly #deps: IncumbentDeps;
  /** The one that serves. */
  #running: Running | undefined;
  /** Started beside it, to replace it. */
  #next: Running | undefined;
  #nextCause: ReplacementCause = 'reload';
  #nextAttempts = 0;
  /** Somebody waits for what a plugin says of its health. */
  #healthHeard: () => void = () => {};
  readonly #draining = new Map<number, SupervisorChannel>();
  #launches = 0;
  #givenUp: Error | undefined;
  readonly #mayTellClock: () => boolean;
  readonly #commits: Commits;
  readonly #results: CredentialResults;
  #isStopping = false;

  constructor(deps: IncumbentDeps) {
    this.#deps = deps;
    this.#mayTellClock = createSpacing(deps.clock, clockToldEveryMs);
    this.#commits = createCommits(deps.clock);
    this.#results = new CredentialResults(deps.clock, deps.log);
  }

  get health(): HealthMessage | undefined {
    return this.#running?.lastHealth;
  }

  get pid(): number | undefined {
    return this.#running?.child.pid;
  }

  /** Why a plugin last gave up. */
  get givenUp(): Error | undefined {
    return this.#givenUp;
  }

  /** Whether the incumbent has a credential that goes on, or may still log in; true as well while there is none. */
  get hasCredential(): boolean {
    const running = this.#running;
    if (running === undefined) return true;
    const { loginCredentials } = running.custody;
    const isLoggedIn = loginCredentials.every((name) => running.inUse.has(name));
    if (isLoggedIn) return !isCredentialEnding(running.lastHealth);
    return this.#deps.clock.nowMs() - running.startedAtMs < loginGraceMs;
  }

  launch(custody: Custody): void {
    this.#results.renew();
    this.#running = this.#start(custody, 'now');
  }

  launchNext(custody: Custody, cause: ReplacementCause): void {
    this.#nextAttempts = 1;
    this.#nextCause = cause;
    this.#startNext(custody);
  }

  #startNext(custody: Custody): void {
    // While the name is lost nobody can connect to the incumbent: the second one need not wait until it is healthy.
    const isLost = this.#nextCause === 'socket_lost';
    this.#setNext(this.#start(custody, !isLost && this.#isWell() ? 'when_healthy' : 'now')); // step: next.start
  }

  /** One that became the incumbent when it was healthy is, also while its first word is still on its way. */
  #isWell(): boolean {
    const running = this.#running;
    if (running?.lastHealth === undefined) return running?.listen === 'when_healthy';
    return running.lastHealth.healthz === 'ok';
  }

  killNext(): void {
    this.#next?.child.kill();
    this.#setNext(undefined);
  }

  /** During a hand-over no proposal is decided: it waits for a state at rest. */
  #setNext(next: Running | undefined): void {
    this.#next = next;
    this.#commits.hold(next !== undefined);
  }

  /** @returns the custody that counts from now on; undefined when there was nobody to hand over to */
  handOver(deadlineMs: number, killMs: number): Custody | undefined {
    const before = this.#running;
    const next = this.#next;
    if (next === undefined) return undefined;
    this.#running = next;
    this.#results.renew();
    this.#setNext(undefined);
    this.#watchLiveness(next);
    if (next.lastHealth !== undefined) this.#deps.healthChanged(next.lastHealth);
    if (before !== undefined) this.#retire(before, deadlineMs, killMs); // step: incumbent.retire
    this.#deps.becameIncumbent();
    this.#deps.log('info', handOverEvents[this.#nextCause], { launch: next.launch });
    if (next.early !== undefined) this.#proposed(next.early, next.launch);
    return next.custody;
  }

  /** Lets a commit that is being written end first. */
  async drain(deadlineMs: number): Promise<void> {
    this.#isStopping = true;
    await this.#running?.custody.store.idle();
    this.#running?.channel.setPhase('draining');
    this.#running?.channel.send({ kind: 'drain', reason: 'stop', deadlineMs }); // step: stop.drain
  }

  kill(): void {
    this.#running?.child.kill();
    this.#forget();
  }

  /**
   * To every plugin that lives, each generation once, from the files of its own configuration: while another one is prepared,
   * the incumbent hears nothing of the files that only that one names.
   */
  credentialsChanged(inForce: Custody): void {
    const living = [this.#running, this.#next].filter((running) => running !== undefined);
    const custodies = new Set([inForce.credentials, ...living.map(({ custody }) => custody.credentials)]);
    for (const credentials of custodies) {
      const ofThese = living.filter(({ custody }) => custody.credentials === credentials);
      for (const message of credentials.look()) this.#credentialChanged(message, ofThese);
    }
  }

  #credentialChanged(message: CredentialMessage, plugins: readonly Running[]): void {
    const { name, generation } = message;
    const isNew = plugins.some(({ sent }) => generation > (sent.get(name) ?? 0));
    if (isNew) this.#deps.log('info', 'credential.changed', { name, credential_generation: generation });
    for (const running of plugins) sendCredential(running, message);
  }

  countersChanged(): void {
    this.#running?.channel.send({ kind: 'counters', counters: this.#deps.counters });
    this.#next?.channel.send({ kind: 'counters', counters: this.#deps.counters });
  }

  #start(custody: Custody, listen: StartMessage['listen']): Running {
    this.#launches += 1;
    const greeting = { listen, counters: this.#deps.counters, clock: this.#deps.clock };
    const running = startRunning(custody, this.#launches, greeting, {
      receive: this.#receive,
      violated: this.#violated,
      stuck: this.#stuck,
      ended: this.#childEnded,
      notGreeted: (errorClass, { launch }) =>
        this.#deps.log('error', 'plugin.not_greeted', { error_class: errorClass, launch }),
    });
    this.#deps.log('info', 'plugin.started', { pid: running.child.pid, launch: running.launch });
    return running;
  }

  #violated = (errorClass: ErrorClass, running: Running): void => {
    this.#deps.log('error', 'plugin.violation', { error_class: errorClass, launch: running.launch });
    if (running === this.#next) return this.#deps.event({ kind: 'next_failed' });
    if (running === this.#running) return this.#deps.event({ kind: 'unfit', reason: 'violation' });
    running.child.kill();
  };

  /** Alive, it may be, but it does not read what it is told. */
  #stuck = (running: Running): void => {
    this.#deps.log('error', 'plugin.stuck', { launch: running.launch, hint: stuckHint });
    if (running === this.#next) return this.#deps.event({ kind: 'next_failed' });
    if (running === this.#running) return this.#deps.event({ kind: 'unfit', reason: 'hung' });
    running.child.kill();
  };

  #childEnded = (running: Running, { reason, exitCode, signal }: ChildEnd): void => {
    const { launch, child } = running;
    const isIncumbent = running === this.#running;
    const isNext = running === this.#next;
    const isWanted = (this.#isStopping && exitCode === 0) || !(isIncumbent || isNext);
    const level = isWanted ? 'info' : 'warn';
    this.#deps.log(level, 'plugin.exited', { pid: child.pid, launch, exit_code: exitCode, signal });
    if (isNext) {
      this.#setNext(undefined);
      return this.#deps.event({ kind: 'next_failed' });
    }
    if (!isIncumbent) return;
    this.#forget();
    this.#deps.event({ kind: 'exited', reason });
  };

  /** A hand-over happens only if the state on disk is still the one that the new plugin was started with. */
  async #nextReady(next: Running): Promise<void> {
    await this.#untilProven(next);
    await next.custody.store.idle();
    if (this.#next !== next) return;
    // control: hand-over.state
    if (next.custody.store.current?.currentHash === next.startedWith) return this.#deps.event({ kind: 'next_ready' });
    this.#nextAttempts += 1;
    if (this.#nextAttempts > maxNextAttempts) return this.#deps.event({ kind: 'next_failed' });
    // Proposals go on waiting: the one that follows must not be overtaken again.
    next.child.kill();
    this.#startNext(next.custody);
  }

  /**
   * One that listens before it is healthy does not relieve an incumbent that is well, also one that has become so meanwhile: its clients
   * would be refused until the first probes of the new one. It gets a little time; both serve until then.
   */
  #untilProven(next: Running): Promise<void> {
    const isProven = () => next.listen === 'when_healthy' || next.lastHealth?.healthz === 'ok';
    const isOver = () => this.#next !== next || !this.#isWell() || isProven();
    if (isOver()) return Promise.resolve();
    return new Promise((resolve) => {
      const settle = () => {
        cancel();
        this.#healthHeard = () => {};
        resolve();
      };
      const cancel = this.#deps.clock.after(proofMs, settle);
      this.#healthHeard = () => {
        if (isOver()) settle();
      };
    });
  }

  #retire(before: Running, deadlineMs: number, killMs: number): void {
    before.liveness?.stop();
    before.channel.setPhase('draining');
    this.#draining.set(before.launch, before.channel);
    before.channel.send({ kind: 'drain', reason: 'replace', deadlineMs });
    before.cancelKill = this.#deps.clock.after(killMs, before.child.kill);
    void before.child.ended.then(() => {
      before.cancelKill();
      this.#draining.delete(before.launch);
    });
  }

  #receive = (message: PluginMessage, launch: number): void => {
    const from = [this.#running, this.#next].find((running) => running?.launch === launch);
    const isNext = from !== undefined && from === this.#next;
    switch (message.kind) {
      case 'ready':
        return from === undefined ? undefined : this.#ready(message, from, isNext);
      case 'health':
        if (from === undefined) return;
        from.lastHealth = message;
        this.#healthHeard();
        if (isNext) return;
        return this.#deps.healthChanged(message);
      case 'propose':
        return this.#proposed(message, launch);
      case 'pong':
        return from?.liveness?.pong(message.id);
      case 'credential_result':
        return from === undefined ? undefined : this.#credentialResult(message, from, isNext);
      case 'giving_up':
        return from === undefined ? undefined : this.#gaveUp(message, launch, isNext);
      // Of a task, never of a plugin that serves: the channel refuses it.
      case 'report':
        return;
      case 'drained':
        return this.#deps.log('info', 'plugin.drained', { calls_cut: message.cut, launch });
    }
  };

  #gaveUp(message: Extract<PluginMessage, { kind: 'giving_up' }>, launch: number, isNext: boolean): void {
    const refusal = refusalOf(message);
    this.#givenUp = refusal;
    const { hint, field } = refusalFields(refusal);
    const facts = { error_class: message.class, finding: message.finding, field, hint, launch };
    this.#deps.log('error', 'plugin.giving_up', facts);
    if (isNext) return this.#deps.event({ kind: 'next_failed' });
    const exitCode = refusal instanceof GateRefusal ? refusal.exitCode : exitCodes.runtime;
    this.#deps.event({ kind: 'giving_up', canRelaunchHelp: message.canRelaunchHelp, exitCode });
  }

  #ready(message: Extract<PluginMessage, { kind: 'ready' }>, from: Running, isNext: boolean): void {
    const { privilege } = from.custody;
    const problem = message.isPermissionModelOn
      ? confinementProblem(message.confinement, privilege)
      : 'permission_model';
    if (problem !== undefined) {
      this.#deps.log('error', 'plugin.unconfined', { reason: problem, privilege: privilege.kind });
      return this.#deps.event(isNext ? { kind: 'next_failed' } : { kind: 'unfit', reason: 'confinement' });
    }
    if (message.portsUnopened !== undefined && message.portsUnopened.length > 0) {
      this.#deps.portsUnopened(message.portsUnopened);
    }
    if (isNext) return void this.#nextReady(from); // step: incumbent.next-ready
    this.#watchLiveness(from);
    this.#deps.becameIncumbent();
    this.#deps.event({ kind: 'ready' });
  }

  #watchLiveness(running: Running): void {
    const ping = (id: number) => running.channel.send({ kind: 'ping', id });
    running.liveness = watchLiveness(this.#deps.clock, ping, () => this.#deps.event({ kind: 'unfit', reason: 'hung' }));
  }

  /** Only the incumbent proposes; a proposal that was overtaken by a hand-over is refused, which is no violation. */
  #proposed(proposal: Proposal, launch: number): void {
    const { commitId, state } = proposal;
    const running = this.#running;
    if (running?.launch === launch) {
      return this.#commits.add(() => {
        if (this.#running === running) return this.#commit(commitId, state, running);
        return this.#refuseLate(running.channel, commitId);
      });
    }
    // The next plugin proposed a state before the hand-over finished; it is decided after the hand-over.
    if (this.#next?.launch === launch) {
      this.#next.early = proposal;
      return;
    }
    this.#refuseLate(this.#draining.get(launch), commitId);
  }

  #refuseLate(channel: SupervisorChannel | undefined, commitId: number): void {
    channel?.send({ kind: 'committed', commitId, outcome: 'refused', onDisk: 'other' });
  }

  async #commit(commitId: number, state: string, running: Running): Promise<void> {
    try {
      const { store } = running.custody;
      const result = await store.commit(state);
      if (store.isClockBehind && this.#mayTellClock()) {
        this.#deps.log('warn', 'state.clock_behind', { hint: clockHint });
      }
      const finding = result.outcome === 'failed' ? this.#saveFailed(result.onDisk, running) : undefined;
      // step: commit.answer
      running.channel.send({ kind: 'committed', commitId, ...result, ...(finding === undefined ? {} : { finding }) });
    } catch (error) {
      this.#deps.log('error', 'state.refused', { error_class: errorClassOf(error) });
      if (this.#running === running) this.#deps.event({ kind: 'unfit', reason: 'violation' });
      else running.child.kill();
    }
  }

  /** @returns what is known of the cause */
  #saveFailed(onDisk: string, running: Running): string | undefined {
    if (!running.custody.isStateDirectoryGone()) {
      const hint = 'is the state directory writable and the file system not full?';
      this.#deps.log('warn', 'state.save_failed', { reason: onDisk, hint });
      return undefined;
    }
    const finding = departureReasons.state;
    const hint = 'the state directory was removed or replaced; see directory.gone';
    this.#deps.log('error', 'state.save_failed', { reason: onDisk, finding, hint });
    this.#deps.stateDirectoryGone();
    return finding;
  }

  #credentialResult(message: CredentialResult, from: Running, isNext: boolean): void {
    const { name, generation, result, detail, nextTryMs } = message;
    if (!this.#results.take(from, message) || isNext) return;
    if (result === 'in_use')
      return this.#deps.log('info', 'credential.in_use', { name, credential_generation: generation });
    const event = result === 'refused' ? 'credential.refused' : 'credential.unproven';
    const cause = { error_class: message.class, detail, hint: credentialHintOf(message.class, detail) };
    this.#deps.log('warn', event, { name, credential_generation: generation, ...cause, next_try_ms: nextTryMs });
    if (result !== 'refused') return;
    const key = `${name} ${message.class ?? 'other'}`;
    const { credentialRefusals } = this.#deps.counters;
    credentialRefusals[key] = (credentialRefusals[key] ?? 0) + 1;
    this.countersChanged();
  }

  #forget(): void {
    this.#running?.liveness?.stop();
    this.#running = undefined;
    this.#deps.healthChanged(undefined);
  }
}

/** What is in use ends soon, or is dead: OpenBao refuses it, or nothing there can be sent. An outage says nothing against it. */
function isCredentialEnding(health: HealthMessage | undefined): boolean {
  if (health === undefined) return false;
  const isRefused = isCredentialRefusal(health.cause?.class ?? '');
  return health.isCredentialEnding === true || (health.healthz !== 'ok' && isRefused);
}
