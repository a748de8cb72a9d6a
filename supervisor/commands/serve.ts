// The command `serve`: gate, listeners, plugin, custody, until a signal. Reads top-down in the order of trust.

import type { Counters, StartMessage } from '../../shared/channel/messages.ts';
import type { Config, ConfigOptions } from '../../shared/config/config.ts';
import { withoutPaths } from '../../shared/config/paths.ts';
import type { Log, LogFields, LogLevel } from '../../shared/log/fields.ts';
import { createLog, toTextLine } from '../../shared/log/logger.ts';
import { pluginLine } from '../../shared/log/relay.ts';
import { deriveFingerprint } from '../../shared/registry/fingerprint.ts';
import type { BoundTcp } from '../custody/bound-handle.ts';
import { newsOnce } from '../custody/credentials.ts';
import { createListenerLook } from '../custody/listener-look.ts';
import { bindListeners, bindPortAnew, type Listeners, type Ports } from '../custody/listeners.ts';
import type { GateDeps } from '../gate/checks/check.ts';
import { type Passed, passGate, readReload } from '../gate/gate.ts';
import { type Reopened, reopen, socketOptions } from '../gate/reopen.ts';
import { pluginEnvironment, startChild } from '../launch/child.ts';
import { countCredentialFiles, emptyCounters } from '../launch/counters.ts';
import { nodeFlags, pluginCommand } from '../launch/plugin-command.ts';
import { type OutputSink, readPluginOutput } from '../launch/plugin-output.ts';
import type { Custody } from '../launch/running.ts';
import { departedExitCode, type ReplacementCause } from '../lifecycle/events.ts';
import { createLoop, type LifeFacts, type Prepared } from '../lifecycle/loop.ts';
import { createReadiness } from '../lifecycle/readiness.ts';
import { sayLastWord } from '../notify/last-word.ts';
import { createNotifier } from '../notify/notify.ts';
import { departureLine, refusalLine, statusLine } from '../notify/status-line.ts';
import { GateRefusal, refusalFields } from '../refusal.ts';
import type { SystemdSocket } from '../system.ts';
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

export type ServeOptions = ConfigOptions & { readonly configPath: string };

/** Runs until it is told to stop. @returns the exit code */
export async function serve(options: ServeOptions, deps: Omit<ServeDeps, 'credentialFiles'>): Promise<number> {
  const log = createSwitchableLog(deps);
  const counters = emptyCounters(deps.clock.wallMs());
  const gateDeps: ServeDeps & { readonly output: OutputSink } = {
    ...deps,
    output: log.output,
    credentialFiles: countCredentialFiles(counters, log.write, deps.clock, () => loop.countersChanged()),
  };
  let passed: Passed | undefined;
  let bound: Listeners | undefined;
  let guard: Guard | undefined;
  let lastWord: string | undefined;
  let isStartRefused = false;
  /** Those that the incumbent, or the one that is being launched, was given. */
  let portsGiven: Ports | undefined;

  const look = createListenerLook(deps.clock);
  /** Ports that were shut down by the plugin before are bound anew; one that somebody else takes meanwhile is tried again later. */
  const renewPorts = async (when: 'launch' | 'look'): Promise<void> => {
    if (bound === undefined) return;
    for (const name of await look.shutPorts(bound, when)) {
      const before = bound[name];
      if (before === undefined) continue;
      const port = bindPortAnew(name, before);
      before.handle.close();
      bound = { ...bound, [name]: port };
      if (port === undefined) log.write('error', 'port.shut', { name, hint: unboundHint });
      else log.write('error', 'port.replaced', { name, hint: shutHint });
    }
  };

  const passFirst = async (): Promise<Custody> => {
    const first = await passGate(options.configPath, options, gateDeps);
    passed = first;
    log.configure(first.config);
    const listeners = await bindFirst(first, gateDeps, counters, log.write);
    bound = listeners;
    logStart(first, listeners, options, log.write);
    guard = guardCustody({
      clock: deps.clock,
      log: log.write,
      counters,
      environment: deps.environment,
      uid: deps.identity.uid,
      passed: () => passed ?? first,
      listeners: () => bound ?? listeners,
      listenersChanged: (next) => {
        bound = next;
      },
      portsGiven: () => portsGiven,
      listenerLook: look,
      renewPorts,
      loop,
      departing: (reason) => {
        lastWord = departureLine(reason);
      },
    });
    readiness.begin(first.config.bootstrap.graceTimeoutMs);
    portsGiven = listeners;
    return custodyOf(first, listeners, options, gateDeps);
  };
  const adoptPassed = (next: Passed) => {
    passed = next;
    log.configure(next.config);
    guard?.rewatch();
  };
  /** From now on this is what is held, and what was held before is let go. */
  const adoptReopened = (before: Passed, reopened: Reopened) => {
    adoptPassed({ ...before, ...reopened.held });
    // A port may have been bound since the gate began.
    bound = { ...(bound ?? reopened.listeners), socket: reopened.listeners.socket };
    reopened.adopt();
    if (!reopened.isBoundAnew) return;
    counters.socketLost = false;
    loop.countersChanged();
    guard?.look();
  };
  /** Before a relaunch. A configuration that cannot be read again leaves the old one in force. */
  const passAgain = async (before: Passed, listeners: Listeners, isReload: boolean): Promise<Custody> => {
    guard?.look();
    let now = before;
    if (isReload) {
      const loaded = await readReload(options.configPath, options, gateDeps, before).catch((error: unknown) => {
        const check = error instanceof GateRefusal ? error.check : 'gate.config';
        log.write('warn', 'reload.refused', { check, ...refusalFields(error) });
      });
      if (loaded !== undefined) {
        before.adopt(loaded.config);
        now = { ...before, ...loaded };
        adoptPassed(now);
      }
    }
    const reopened = await reopenOrTell(now, listeners);
    adoptReopened(now, reopened);
    if (reopened.isBoundAnew) tellBoundAnew(reopened);
    await renewPorts('launch');
    const current = bound ?? reopened.listeners;
    portsGiven = current;
    return custodyOf({ ...now, ...reopened.held }, current, options, gateDeps);
  };
  const tellBoundAnew = ({ wasShut }: Reopened) => {
    if (wasShut) log.write('error', 'socket.replaced', { hint: shutHint });
    else log.write('info', 'socket.repaired');
  };
  /** A start waits for its state as a save does. */
  const reopenOrTell = async (before: Passed, listeners: Listeners): Promise<Reopened> => {
    try {
      return await reopen(before, listeners, gateDeps, look);
    } catch (error) {
      if (before.stateDirectory.look() !== 'here') guard?.stateNeeded();
      throw error;
    }
  };
  const gate = (isFirst: boolean, isReload: boolean): Promise<Custody> =>
    passed === undefined || bound === undefined || isFirst ? passFirst() : passAgain(passed, bound, isReload);

  /** For a second plugin: everything new counts only once it is adopted. */
  const prepare = async (cause: ReplacementCause): Promise<Prepared> => {
    if (passed === undefined || bound === undefined) throw new Error('a replacement before the gate');
    const [before, listeners] = [passed, bound];
    guard?.look();
    let isInForce = false;
    const quiet = { ...gateDeps, credentialFiles: newsOnce(() => isInForce, gateDeps.credentialFiles) };
    const loaded = cause === 'reload' ? await readReload(options.configPath, options, quiet, before) : {};
    const reopened = await reopen(before, listeners, gateDeps, look);
    const next: Passed = { ...before, ...loaded };
    return {
      ...custodyOf({ ...next, ...reopened.held }, reopened.listeners, options, gateDeps),
      cause,
      readyMs: next.config.bootstrap.graceTimeoutMs,
      adopt: () => {
        isInForce = true;
        before.adopt(next.config);
        portsGiven = reopened.listeners;
        adoptReopened(next, reopened);
        if (reopened.wasShut) tellBoundAnew(reopened);
      },
      abandon: reopened.abandon,
    };
  };

  const notifier = createNotifier({
    clock: deps.clock,
    send: deps.systemd?.send,
    watchdogMs: deps.systemd?.watchdogMs,
  });
  const readiness = createReadiness(deps.clock, log.write, notifier.ready);
  let isReloading = false;
  const tellStatus = (facts: LifeFacts) => {
    const relaunches = Object.values(counters.restarts).reduce((sum, count) => sum + count, 0);
    const isSameUser = passed?.identity.privilege.kind === 'same-user';
    const told = { ...facts, relaunches, version: deps.build.version, isSameUser };
    notifier.status(() => statusLine(told, deps.clock.wallMs()));
    if (isReloading && facts.isReloadOver) {
      isReloading = false;
      notifier.ready();
    }
  };
  const loop = createLoop({
    clock: deps.clock,
    random: deps.random,
    log: log.write,
    gate,
    prepare,
    removeName: () => bound?.socket.removeName(),
    counters,
    healthChanged: readiness.health,
    startRefused: (refusal) => {
      isStartRefused = true;
      lastWord = refusalLine(refusal);
    },
    stateDirectoryGone: () => guard?.stateNeeded(),
    portsUnopened: (names) => guard?.portsUnopened(names),
    becameIncumbent: () => {
      if (bound !== undefined) look.served({ ...bound, ...portsGiven });
    },
    factsChanged: tellStatus,
  });
  const stopAsked = Promise.withResolvers<void>();
  const stop = () => {
    notifier.stopping();
    stopAsked.resolve();
    loop.event({ kind: 'stop' });
  };
  const sayLast = (line: string, isRefused: boolean) => {
    const isShown = deps.systemd !== undefined;
    return sayLastWord({ clock: deps.clock, notifier, isShown, stopAsked: stopAsked.promise }, line, isRefused);
  };
  deps.onSignal('SIGTERM', stop);
  deps.onSignal('SIGINT', stop);
  deps.onSignal('SIGHUP', () => {
    isReloading = true;
    notifier.reloading(deps.monotonicUs());
    loop.event({ kind: 'reload' });
  });
  const exitCode = await loop.ended;
  await passed?.store.idle();
  await (exitCode === 0 || lastWord === undefined ? notifier.idle() : sayLast(lastWord, isStartRefused));
  // A gate that was still running when the stop came may have bound the name meanwhile.
  bound?.socket.removeName();
  for (const lock of Object.values(passed?.locks ?? {})) lock.release();
  const reason = shutdownReason(exitCode, isStartRefused);
  log.write(exitCode === 0 ? 'info' : 'error', 'serve.shutdown', { exit_code: exitCode, reason });
  return exitCode;
}

const shutHint =
  'it refused every connection: a plugin had shut it down. It is bound anew; the plugin may have been taken over';

const unboundHint =
  'a plugin had shut it down, and it cannot be bound at present; it is tried again every 5 s. The plugin may have been taken over';

const droppedHint = 'the plugin wrote more than 200 lines in a second; lower logging.level, or look why';

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
    text: (text) => current('error', 'plugin.output', { output: text }),
    dropped: (lines) => current('warn', 'plugin.output_dropped', { suppressed: lines, hint: droppedHint }),
  };
  return {
    output,
    write: (level: LogLevel, message: string, fields?: LogFields) => current(level, message, fields),
    configure: ({ logging }: Config) => {
      format = logging.format;
      current = make(logging.level, logging.format);
    },
  };
}

/** Why a process that was not asked to stop ends. */
export const shutdownReasons = ['startup_failed', 'runtime_failed', 'directory_gone'] as const;

function shutdownReason(exitCode: number, isStartRefused: boolean): (typeof shutdownReasons)[number] | undefined {
  if (exitCode === 0) return undefined;
  if (exitCode === departedExitCode) return 'directory_gone';
  return isStartRefused ? 'startup_failed' : 'runtime_failed';
}

/** After the gate: complete the checkpoint, then bind. */
async function bindFirst(passed: Passed, deps: GateDeps, counters: Counters, log: Log): Promise<Listeners> {
  const { pair, socketFinding, store } = passed;
  await asRefusal('gate.state', () => store.complete(pair));
  if (pair.kind === 'accepted' && pair.writeCheckpoint === 'missing') {
    counters.checkpointsRecreated += 1;
    log('warn', 'state.checkpoint_recreated', { generation: pair.state.generation });
  }
  const { metricsAddress, healthAddress } = passed.config.server;
  const options = socketOptions(passed, deps);
  const listeners = bindListeners({ socket: passed.socket, options, metricsAddress, healthAddress });
  if (socketFinding === 'dead') {
    counters.staleSockets += 1;
    log('warn', 'socket.stale_removed');
  }
  return listeners;
}

async function asRefusal(check: 'gate.state', run: () => Promise<void>): Promise<void> {
  try {
    await run();
  } catch (error) {
    throw new GateRefusal(check, error);
  }
}

function logStart(passed: Passed, bound: Listeners, options: ServeOptions, log: Log): void {
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
