// What the gate gave and the provider holds: configuration, credentials, directories, locks, state, listeners. Acquired once, checked
// again before each relaunch, prepared for a second plugin. What is prepared is not in force: adopting it swaps everything at once,
// abandoning it leaves nothing.

import type { Counters, PortName } from '../../shared/channel/messages.ts';
import type { ConfigOptions } from '../../shared/config/config.ts';
import type { Log } from '../../shared/log/fields.ts';
import { newsOnce } from '../custody/credentials.ts';
import type { ListenerLook, LookKind } from '../custody/listener-look.ts';
import { bindListeners, bindPortAnew, type Listeners, type Ports } from '../custody/listeners.ts';
import { GateRefusal, refusalFields } from '../refusal.ts';
import { check, type GateDeps } from './checks/check.ts';
import { type Passed, passGate, readReload } from './gate.ts';
import { type Reopened, reopen, socketOptions } from './reopen.ts';

export type HoldingsDeps = {
  readonly configPath: string;
  readonly options: ConfigOptions;
  readonly gate: GateDeps;
  readonly counters: Counters;
  readonly log: Log;
  readonly listenerLook: ListenerLook;
  /** Looks at the directories before they are used. */
  readonly look: () => void;
  /** The first time, before anything is bound: the settings of the log. Afterwards: other files and directories may be named. */
  readonly adopted: (passed: Passed) => void;
  /** The name of the socket is there again. */
  readonly boundAnew: () => void;
  /** The state directory is needed, and it is gone. */
  readonly stateNeeded: () => void;
};

export type Holding = { readonly passed: Passed; readonly listeners: Listeners };

export type PreparedHolding = Holding & { readonly adopt: () => void; readonly abandon: () => void };

export class Holdings {
  readonly #deps: HoldingsDeps;
  #passed: Passed | undefined;
  #listeners: Listeners | undefined;
  /** Those that the incumbent, or the one that is being launched, was given. */
  #portsGiven: Ports | undefined;
  /** The configuration was read again for a relaunch, and no plugin serves with it yet. */
  #isReadAgain = false;

  constructor(deps: HoldingsDeps) {
    this.#deps = deps;
  }

  get passed(): Passed | undefined {
    return this.#passed;
  }

  get listeners(): Listeners | undefined {
    return this.#listeners;
  }

  get portsGiven(): Ports | undefined {
    return this.#portsGiven;
  }

  /** These count from now on. */
  listenersChanged = (listeners: Listeners): void => {
    this.#listeners = listeners;
  };

  /** The first time all of it. @throws GateRefusal, or what binding throws; nothing but the lock files was made then */
  async acquire(): Promise<Holding> {
    const { configPath, options, gate, adopted } = this.#deps;
    const passed = await passGate(configPath, options, gate);
    this.#passed = passed;
    adopted(passed);
    const listeners = await this.#bindFirst(passed);
    this.#listeners = listeners;
    this.#portsGiven = listeners;
    return { passed, listeners };
  }

  /** Before a relaunch. A configuration that cannot be read again leaves the old one in force. @throws GateRefusal */
  async recheck(isReload: boolean): Promise<Holding> {
    const [before, listeners] = this.#held();
    this.#deps.look();
    const now = isReload ? await this.#readAgain(before) : before;
    const reopened = await this.#reopenOrTell(now, listeners);
    this.#adopt(now, reopened);
    if (reopened.isBoundAnew) this.#tellBoundAnew(reopened);
    await this.renewPorts('launch');
    const current = this.#listeners ?? reopened.listeners;
    this.#portsGiven = current;
    return { passed: { ...now, ...reopened.held }, listeners: current };
  }

  /** For a second plugin: everything new counts only once it is adopted. @throws GateRefusal */
  async prepare(isReload: boolean): Promise<PreparedHolding> {
    const { configPath, options, gate, listenerLook } = this.#deps;
    const [before, listeners] = this.#held();
    this.#deps.look();
    let isInForce = false;
    const quiet = { ...gate, credentialFiles: newsOnce(() => isInForce, gate.credentialFiles) };
    const loaded = isReload ? await readReload(configPath, options, quiet, before) : {};
    const reopened = await reopen(before, listeners, gate, listenerLook);
    const next: Passed = { ...before, ...loaded };
    return {
      passed: { ...next, ...reopened.held },
      listeners: reopened.listeners,
      adopt: () => {
        isInForce = true;
        before.adopt(next.config);
        this.#portsGiven = reopened.listeners;
        this.#adopt(next, reopened);
        if (reopened.wasShut) this.#tellBoundAnew(reopened);
      },
      abandon: reopened.abandon,
    };
  }

  /** Ports that were shut down by the plugin before are bound anew; one that somebody else takes meanwhile is tried again later. */
  async renewPorts(when: LookKind): Promise<void> {
    const { listenerLook, log } = this.#deps;
    if (this.#listeners === undefined) return;
    for (const name of await listenerLook.shutPorts(this.#listeners, when)) {
      const before: Ports[typeof name] = this.#listeners[name];
      if (before === undefined) continue;
      const port = bindPortAnew(name, before);
      before.handle.close();
      this.#listeners = { ...this.#listeners, [name]: port };
      if (port === undefined) log('error', 'port.shut', { name, hint: unboundHint });
      else log('error', 'port.replaced', { name, hint: shutHint });
    }
  }

  /** The plugin that was given these ports could not open them: somebody else listens there. */
  portsUnopened(names: readonly PortName[]): void {
    for (const name of names) {
      this.#listeners?.[name]?.handle.close();
      if (this.#listeners !== undefined) this.#listeners = { ...this.#listeners, [name]: undefined };
      if (this.#portsGiven !== undefined) this.#portsGiven = { ...this.#portsGiven, [name]: undefined };
    }
  }

  /** A plugin serves: from now on a refused connect says that it was shut down, and what was read again is in use. */
  served(): void {
    if (this.#isReadAgain) this.#deps.log('info', 'reload.done');
    this.#isReadAgain = false;
    if (this.#listeners !== undefined) this.#deps.listenerLook.served({ ...this.#listeners, ...this.#portsGiven });
  }

  /** At the end. A gate that was still running when the stop came may have bound the name meanwhile. */
  release(): void {
    this.#listeners?.socket.removeName();
    for (const lock of Object.values(this.#passed?.locks ?? {})) lock.release(); // step: stop.unlock
  }

  #held(): readonly [Passed, Listeners] {
    if (this.#passed === undefined || this.#listeners === undefined) throw new Error('nothing is held yet');
    return [this.#passed, this.#listeners];
  }

  async #readAgain(before: Passed): Promise<Passed> {
    const { configPath, options, gate, log, adopted } = this.#deps;
    try {
      const loaded = await readReload(configPath, options, gate, before);
      before.adopt(loaded.config);
      const now = { ...before, ...loaded };
      this.#passed = now;
      this.#isReadAgain = true;
      adopted(now);
      return now;
    } catch (error) {
      const id = error instanceof GateRefusal ? error.check : 'gate.config';
      log('warn', 'reload.refused', { check: id, ...refusalFields(error) });
      return before;
    }
  }

  /** A start waits for its state as a save does. */
  async #reopenOrTell(before: Passed, listeners: Listeners): Promise<Reopened> {
    try {
      return await reopen(before, listeners, this.#deps.gate, this.#deps.listenerLook);
    } catch (error) {
      if (before.stateDirectory.look() !== 'here') this.#deps.stateNeeded();
      throw error;
    }
  }

  /** From now on this is what is held, and what was held before is let go. */
  #adopt(passed: Passed, reopened: Reopened): void {
    this.#passed = { ...passed, ...reopened.held };
    this.#deps.adopted(this.#passed);
    // A port may have been bound since the gate began.
    this.#listeners = { ...(this.#listeners ?? reopened.listeners), socket: reopened.listeners.socket };
    reopened.adopt();
    if (reopened.isBoundAnew) this.#deps.boundAnew();
  }

  #tellBoundAnew({ wasShut }: Reopened): void {
    if (wasShut) this.#deps.log('error', 'socket.replaced', { hint: shutHint });
    else this.#deps.log('info', 'socket.repaired');
  }

  /** After the gate: complete the checkpoint, then bind. */
  async #bindFirst(passed: Passed): Promise<Listeners> {
    const { counters, gate, log } = this.#deps;
    const { pair, socketFinding, store } = passed;
    const isComplete = await check('gate.state', () => store.complete(pair));
    if (!isComplete) log('warn', 'state.save_failed', { reason: 'predecessor', hint: owedHint });
    if (isComplete && pair.kind === 'accepted' && pair.writeCheckpoint === 'missing') {
      counters.checkpointsRecreated += 1;
      log('warn', 'state.checkpoint_recreated', { state_generation: pair.state.generation });
    }
    const { metricsAddress, healthAddress } = passed.config.server;
    const options = socketOptions(passed, gate);
    const settings = { socket: passed.socket, options, metricsAddress, healthAddress };
    const listeners = await check('gate.listeners', () => bindListeners(settings)); // step: listeners.bind
    if (socketFinding === 'dead') {
      counters.staleSockets += 1;
      log('warn', 'socket.stale_removed');
    }
    return listeners;
  }
}

const owedHint =
  'the file system is full, so the checkpoint of the state could not be written; free some space: it is written with the next save';

const shutHint =
  'it refused every connection: a plugin had shut it down. It is bound anew; the plugin may have been taken over';

const unboundHint =
  'a plugin had shut it down, and it cannot be bound at present; it is tried again every 5 s. The plugin may have been taken over';
