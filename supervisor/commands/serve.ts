// The command `serve`: gate, listeners, plugin, custody, until a signal. Reads top-down in the order of trust.

import type { Counters, StartMessage } from '../../shared/channel/messages.ts';
import type { Config, ConfigOptions } from '../../shared/config/config.ts';
import { loginCredentials } from '../../shared/config/login-methods.ts';
import { withoutPaths } from '../../shared/config/paths.ts';
import { exitCodes } from '../../shared/errors/exit-codes.ts';
import type { Log, LogLevel } from '../../shared/log/fields.ts';
import { createLog, toTextLine } from '../../shared/log/logger.ts';
import { pluginLine } from '../../shared/log/relay.ts';
import { deriveFingerprint } from '../../shared/registry/fingerprint.ts';
import type { BoundTcp } from '../custody/bound-handle.ts';
import { createListenerLook, type ListenerLook } from '../custody/listener-look.ts';
import type { Listeners } from '../custody/listeners.ts';
import type { GateDeps } from '../gate/checks/check.ts';
import type { Passed } from '../gate/gate.ts';
import { type Holding, Holdings } from '../gate/holdings.ts';
import { pluginEnvironment, startChild } from '../launch/child.ts';
import { countCredentialFiles, emptyCounters } from '../launch/counters.ts';
import { nodeFlags, pluginCommand } from '../launch/plugin-command.ts';
import { type OutputSink, readPluginOutput } from '../launch/plugin-output.ts';
import type { Custody } from '../launch/running.ts';
import type { ReplacementCause } from '../lifecycle/events.ts';
import { createLoop, type LifeFacts, type Loop, type Prepared } from '../lifecycle/loop.ts';
import { createReadiness, type Readiness } from '../lifecycle/readiness.ts';
import { sayLastWord } from '../notify/last-word.ts';
import { createNotifier, type Notifier } from '../notify/notify.ts';
import { departureLine, refusalLine, statusLine } from '../notify/status-line.ts';
import type { SystemdSocket } from '../system.ts';
import type { Command } from './command.ts';
import { type Guard, guardCustody } from './guard.ts';

export type ServeDeps = GateDeps & {
  readonly random: () => number;
  readonly writeLine: (line: string) => void;
  readonly onSignal: (signal: 'SIGTERM' | 'SIGINT' | 'SIGHUP', run: () => void) => void;
  readonly build: StartMessage['build'];
  readonly nodePath: string;
  readonly pluginBundle: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly systemd: SystemdSocket | undefined;
  readonly monotonicUs: () => number;
};

type ServeOptions = ConfigOptions & { readonly configPath: string };

/** Runs until it is told to stop. */
export const run: Command['run'] = ({ configPath, options }, deps) => new Serve({ ...options, configPath }, deps).run();

/** Who tells whom. What is decided stands in the parts. */
class Serve {
  readonly #options: ServeOptions;
  readonly #deps: ServeDeps;
  readonly #log: SwitchableLog;
  readonly #counters: Counters;
  readonly #holdings: Holdings;
  readonly #notifier: Notifier;
  readonly #readiness: Readiness;
  readonly #loop: Loop;
  readonly #listenerLook: ListenerLook;
  #guard: Guard | undefined;
  #lastWord: string | undefined;
  #isStartRefused = false;
  #isReloading = false;

  constructor(options: ServeOptions, deps: Omit<ServeDeps, 'credentialFiles'>) {
    const { clock, systemd } = deps;
    this.#options = options;
    this.#log = createSwitchableLog(deps);
    this.#counters = emptyCounters(clock.wallMs());
    const changed = () => this.#loop.countersChanged();
    const credentialFiles = countCredentialFiles(this.#counters, this.#log.write, clock, changed);
    this.#deps = { ...deps, credentialFiles };
    this.#listenerLook = createListenerLook(clock);
    this.#holdings = this.#createHoldings();
    this.#notifier = createNotifier({ clock, send: systemd?.send, watchdogMs: systemd?.watchdogMs });
    this.#readiness = createReadiness(clock, this.#log.write, this.#notifier.ready);
    this.#loop = this.#createLoop();
  }

  async run(): Promise<number> {
    const stopAsked = this.#obeySignals();
    const exitCode = await this.#loop.ended;
    await this.#holdings.passed?.store.idle(); // step: stop.state-idle
    await this.#sayLast(exitCode, stopAsked);
    this.#holdings.release();
    const reason = shutdownReason(exitCode, this.#isStartRefused);
    this.#log.write(exitCode === exitCodes.success ? 'info' : 'error', 'serve.shutdown', {
      exit_code: exitCode,
      reason,
    });
    return exitCode;
  }

  /** @returns resolves when it was told to stop */
  #obeySignals(): Promise<void> {
    const { onSignal, monotonicUs } = this.#deps;
    const stopAsked = Promise.withResolvers<void>();
    const stop = () => {
      this.#notifier.stopping(); // step: stop.notify
      stopAsked.resolve();
      this.#loop.event({ kind: 'stop' });
    };
    onSignal('SIGTERM', stop);
    onSignal('SIGINT', stop);
    onSignal('SIGHUP', () => {
      this.#isReloading = true;
      this.#notifier.reloading(monotonicUs());
      this.#loop.event({ kind: 'reload' });
    });
    return stopAsked.promise;
  }

  async #sayLast(exitCode: number, stopAsked: Promise<void>): Promise<void> {
    if (exitCode === exitCodes.success || this.#lastWord === undefined) return this.#notifier.idle();
    const { clock, systemd } = this.#deps;
    const deps = { clock, notifier: this.#notifier, isShown: systemd !== undefined, stopAsked };
    return sayLastWord(deps, this.#lastWord, this.#isStartRefused);
  }

  #createHoldings(): Holdings {
    return new Holdings({
      configPath: this.#options.configPath,
      options: this.#options,
      gate: this.#deps,
      counters: this.#counters,
      log: this.#log.write,
      listenerLook: this.#listenerLook,
      look: () => this.#guard?.look(),
      adopted: ({ config }) => {
        this.#log.configure(config);
        this.#guard?.rewatch();
      },
      boundAnew: () => {
        this.#counters.socketLost = false;
        this.#loop.countersChanged();
        this.#guard?.look();
      },
      stateNeeded: () => this.#guard?.stateNeeded(),
    });
  }

  #createLoop(): Loop {
    const { clock, random } = this.#deps;
    return createLoop({
      clock,
      random,
      log: this.#log.write,
      gate: (isFirst, isReload) => this.#gate(isFirst, isReload),
      prepare: (cause) => this.#prepare(cause),
      removeName: () => this.#holdings.listeners?.socket.removeName(),
      counters: this.#counters,
      healthChanged: this.#readiness.health,
      startRefused: (refusal) => {
        this.#isStartRefused = true;
        this.#lastWord = refusalLine(refusal);
      },
      stateDirectoryGone: () => this.#guard?.stateNeeded(),
      portsUnopened: (names) => this.#guard?.portsUnopened(names),
      becameIncumbent: () => this.#holdings.served(),
      factsChanged: (facts) => this.#tellStatus(facts),
    });
  }

  async #gate(isFirst: boolean, isReload: boolean): Promise<Custody> {
    const isAgain = this.#holdings.listeners !== undefined && !isFirst;
    if (isAgain) return this.#custodyOf(await this.#holdings.recheck(isReload));
    const first = await this.#holdings.acquire();
    logStart(first, this.#options, this.#log.write);
    this.#guard = this.#watch(first);
    this.#readiness.begin(first.passed.config.bootstrap.graceTimeoutMs);
    return this.#custodyOf(first);
  }

  async #prepare(cause: ReplacementCause): Promise<Prepared> {
    const prepared = await this.#holdings.prepare(cause === 'reload');
    const { adopt, abandon } = prepared;
    const readyMs = prepared.passed.config.bootstrap.graceTimeoutMs;
    return { ...this.#custodyOf(prepared), cause, readyMs, adopt, abandon };
  }

  #watch(first: Holding): Guard {
    const { clock, environment, identity } = this.#deps;
    return guardCustody({
      clock,
      log: this.#log.write,
      counters: this.#counters,
      environment,
      uid: identity.uid,
      passed: () => this.#holdings.passed ?? first.passed,
      listeners: () => this.#holdings.listeners ?? first.listeners,
      listenersChanged: this.#holdings.listenersChanged,
      portsGiven: () => this.#holdings.portsGiven,
      listenerLook: this.#listenerLook,
      renewPorts: (when) => this.#holdings.renewPorts(when),
      portsUnopened: (names) => this.#holdings.portsUnopened(names),
      loop: this.#loop,
      departing: (reason) => {
        this.#lastWord = departureLine(reason);
      },
    });
  }

  #tellStatus(facts: LifeFacts): void {
    const { clock, build } = this.#deps;
    const relaunches = Object.values(this.#counters.restarts).reduce((sum, count) => sum + count, 0);
    const isSameUser = this.#holdings.passed?.identity.privilege.kind === 'same-user';
    const told = { ...facts, relaunches, version: build.version, isSameUser };
    this.#notifier.status(() => statusLine(told, clock.wallMs()));
    if (!this.#isReloading || !facts.isReloadOver) return;
    this.#isReloading = false;
    this.#notifier.ready();
  }

  #custodyOf({ passed, listeners }: Holding): Custody {
    return custodyOf(passed, listeners, this.#options, { ...this.#deps, output: this.#log.output });
  }
}

const droppedHint = 'the plugin wrote more than 200 lines in a second; lower logging.level, or look why';

type SwitchableLog = ReturnType<typeof createSwitchableLog>;

/** JSON at level info until the configuration is known. */
function createSwitchableLog(deps: Pick<ServeDeps, 'clock' | 'writeLine'>) {
  const make = (level: LogLevel, format: 'json' | 'text') =>
    createLog({ process: 'supervisor', level, format }, deps.clock, deps.writeLine);
  let current: Log = make('info', 'json');
  let format: 'json' | 'text' = 'json';
  const output: OutputSink = {
    event: (event) => {
      const line = pluginLine(event, new Date(deps.clock.wallMs()).toISOString());
      deps.writeLine(format === 'json' ? line : toTextLine(line));
    },
    // At a level that nobody hides: it may be the last words of its runtime.
    text: (text) => current('error', 'plugin.output', { output: text }), // control: serve.plugin-output
    dropped: (lines) => current('warn', 'plugin.output_dropped', { suppressed: lines, hint: droppedHint }),
  };
  return {
    output,
    write: (...line: Parameters<Log>) => current(...line),
    configure: ({ logging }: Config) => {
      format = logging.format;
      current = make(logging.level, logging.format);
    },
  };
}

/** Why a process that was not asked to stop ends. */
export const shutdownReasons = ['startup_failed', 'runtime_failed', 'directory_gone'] as const;

function shutdownReason(exitCode: number, isStartRefused: boolean): (typeof shutdownReasons)[number] | undefined {
  if (exitCode === exitCodes.success) return undefined;
  if (exitCode === exitCodes.directoryLost) return 'directory_gone';
  return isStartRefused ? 'startup_failed' : 'runtime_failed';
}

function logStart({ passed, listeners: bound }: Holding, options: ServeOptions, log: Log): void {
  for (const { field, message } of passed.warnings) log('warn', 'config.warning', { name: field, hint: message });
  if (options.developmentDirectory !== undefined) {
    log('warn', 'serve.development', {
      hint: 'a socket below the current directory is accepted; never use this in a cluster',
    });
  }
  const address = (listener: BoundTcp | undefined) => listener && `${listener.host}:${listener.port}`;
  log('info', 'serve.start', {
    privilege: passed.identity.privilege.kind,
    socket_path: passed.config.server.socketPath,
    metrics_address: address(bound.metrics),
    health_address: address(bound.health),
  });
}

function custodyOf(
  passed: Passed,
  bound: Listeners,
  options: ServeOptions,
  deps: ServeDeps & { readonly output: OutputSink },
): Custody {
  const listener = (tcp: BoundTcp | undefined) => tcp && { host: tcp.host, port: tcp.port };
  const metrics = listener(bound.metrics);
  const health = listener(bound.health);
  const target = [deps.nodePath, ...nodeFlags(deps.pluginBundle, deps.identity.nodeMajor), deps.pluginBundle];
  return {
    store: passed.store,
    isStateDirectoryGone: () => passed.stateDirectory.look() !== 'here',
    credentials: passed.credentials,
    loginCredentials: loginCredentials[passed.config.auth.method],
    privilege: passed.identity.privilege,
    launch: () => {
      const child = startChild({
        command: pluginCommand(passed.helpers, passed.identity.privilege, target),
        descriptors: [bound.socket.handle.fd, bound.metrics?.handle.fd, bound.health?.handle.fd],
        environment: pluginEnvironment(deps.environment),
        clock: deps.clock,
      });
      readPluginOutput(child.output, deps.clock, deps.output);
      return child;
    },
    start: {
      kind: 'start',
      task: 'serve',
      build: deps.build,
      config: withoutPaths(passed.document),
      overrides: Object.fromEntries(options.overrides ?? []),
      identityFingerprint: deriveFingerprint(passed.config.identity),
      ...(metrics === undefined ? {} : { metrics }),
      ...(health === undefined ? {} : { health }),
    },
  };
}
