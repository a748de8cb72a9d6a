// The command `serve`: gate, listeners, plugin, custody, until a signal. Reads top-down in the order of trust.

import type { Counters, HealthMessage, StartMessage } from '../../shared/channel/messages.ts';
import type { Config, ConfigOptions } from '../../shared/config/config.ts';
import { withoutPaths } from '../../shared/config/paths.ts';
import { parseListener } from '../../shared/config/rules.ts';
import type { Log, LogFields, LogLevel } from '../../shared/log/fields.ts';
import { createLog } from '../../shared/log/logger.ts';
import { deriveFingerprint } from '../../shared/registry/fingerprint.ts';
import type { Clock } from '../../shared/time/clock.ts';
import { type BoundTcp, bindTcp } from '../custody/bound-handle.ts';
import { type BoundSocket, bindSocket } from '../custody/socket.ts';
import { createQuietPeriod, watchDirectories } from '../custody/watch-directories.ts';
import { type GateDeps, GateRefusal, type Passed, passGate, passGateAgain, passReload } from '../gate/gate.ts';
import { pluginEnvironment, startChild } from '../lifecycle/child.ts';
import { type Custody, createLoop, type LifeFacts } from '../lifecycle/loop.ts';
import { nodeFlags, pluginCommand } from '../lifecycle/plugin-command.ts';
import { createNotifier } from '../notify/notify.ts';
import { statusLine } from '../notify/status-line.ts';
import type { SystemdSocket } from '../system.ts';

export type ServeDeps = GateDeps & {
  readonly clock: Clock;
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

type Bound = {
  readonly socket: BoundSocket;
  readonly metrics: BoundTcp | undefined;
  readonly health: BoundTcp | undefined;
};

/** How often credential files are looked at again. */
const credentialLookMs = 10_000;
/** How often the runtime directory and the socket's name are looked at. */
const nameLookMs = 30_000;

/** Runs until it is told to stop. @returns the exit code */
export async function serve(options: ServeOptions, deps: Omit<ServeDeps, 'credentialRefused'>): Promise<number> {
  const log = createSwitchableLog(deps);
  const counters = emptyCounters(deps.clock.wallMs());
  const credentialRefused = (name: string, reason: string) => {
    const key = `${name} ${reason}`;
    counters.credentialRefusals[key] = (counters.credentialRefusals[key] ?? 0) + 1;
    log.write('warn', 'credential.refused', { name, reason });
  };
  const gateDeps = { ...deps, credentialRefused };
  let passed: Passed | undefined;
  let bound: Bound | undefined;
  const gate = async (isFirst: boolean): Promise<Custody> => {
    if (passed === undefined || bound === undefined || isFirst) {
      passed = await passGate(options.configPath, options, gateDeps);
      log.configure(passed.config);
      bound = await bindAll(passed, gateDeps, counters, log.write);
      logStart(passed, bound, options, log.write);
      watchCustody(passed, bound, loop, counters, deps.clock, log.write);
      readiness.begin(passed.config.bootstrap.graceTimeoutMs);
    } else await passGateAgain(passed, bound.socket);
    return custodyOf(passed, bound, options, deps.build);
  };
  const prepareReload = async () => {
    if (passed === undefined || bound === undefined) throw new Error('reloaded before the gate');
    const before = passed;
    const loaded = await passReload(options.configPath, options, gateDeps, before, bound.socket);
    const next = { ...before, ...loaded };
    // The next plugin is greeted with the credentials that its own configuration names.
    before.adopt(loaded.config);
    const adopt = () => {
      passed = next;
      log.configure(loaded.config);
    };
    const readyMs = loaded.config.bootstrap.graceTimeoutMs;
    const abandon = () => before.adopt(before.config);
    return { ...custodyOf(next, bound, options, deps.build), readyMs, adopt, abandon };
  };
  const launch = () => {
    if (passed === undefined || bound === undefined) throw new Error('launched before the gate');
    const target = [deps.nodePath, ...nodeFlags(deps.pluginBundle, deps.identity.nodeMajor), deps.pluginBundle];
    return startChild({
      command: pluginCommand(passed.helpers, passed.identity.privilege, target),
      descriptors: [bound.socket.handle.fd, bound.metrics?.handle.fd, bound.health?.handle.fd],
      environment: pluginEnvironment(deps.environment),
    });
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
    notifier.status(statusLine({ ...facts, relaunches, version: deps.build.version, isSameUser }));
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
    prepareReload,
    launch,
    removeName: () => bound?.socket.removeName(),
    counters,
    healthChanged: readiness.health,
    factsChanged: tellStatus,
  });
  const stop = () => {
    notifier.stopping();
    loop.event({ kind: 'stop' });
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
  await notifier.idle();
  for (const lock of passed?.locks ?? []) lock.release();
  const reason = exitCode === 0 ? undefined : bound === undefined ? 'startup_failed' : 'runtime_failed';
  log.write(exitCode === 0 ? 'info' : 'error', 'serve.shutdown', { exit_code: exitCode, reason });
  return exitCode;
}

function emptyCounters(startedAtUnixMs: number): Counters {
  return {
    restarts: {},
    gateRefusals: {},
    credentialRefusals: {},
    staleSockets: 0,
    checkpointsRecreated: 0,
    socketLost: false,
    supervisorStartedAtUnixMs: startedAtUnixMs,
  };
}

/** JSON at level info until the configuration is known. */
function createSwitchableLog(deps: Pick<ServeDeps, 'clock' | 'writeLine'>) {
  const make = (level: LogLevel, format: 'json' | 'text') =>
    createLog({ process: 'supervisor', level, format }, deps.clock, deps.writeLine);
  let current: Log = make('info', 'json');
  return {
    write: (level: LogLevel, message: string, fields?: LogFields) => current(level, message, fields),
    configure: ({ logging }: Config) => {
      current = make(logging.level, logging.format);
    },
  };
}

/** After the gate: complete the checkpoint, bind metrics and health, then the socket. What was bound is closed on failure. */
async function bindAll(passed: Passed, deps: GateDeps, counters: Counters, log: Log): Promise<Bound> {
  const { pair, socketFinding, store } = passed;
  await asRefusal('gate.state', () => store.complete(pair));
  if (pair.kind === 'accepted' && pair.writeCheckpoint === 'missing') {
    counters.checkpointsRecreated += 1;
    log('warn', 'state.checkpoint_recreated', { generation: pair.state.generation });
  }
  const { server } = passed.config;
  let metrics: BoundTcp | undefined;
  let health: BoundTcp | undefined;
  try {
    metrics = bindListener('server.metricsAddress', server.metricsAddress);
    health = bindListener('server.healthAddress', server.healthAddress);
    const socket = bindSocket(passed.socket, {
      gid: passed.identity.socketGid,
      mode: server.socketMode,
      uid: deps.identity.uid,
      randomHex: deps.randomHex,
    });
    if (socketFinding === 'dead') {
      counters.staleSockets += 1;
      log('warn', 'socket.stale_removed');
    }
    return { socket, metrics, health };
  } catch (error) {
    metrics?.handle.close();
    health?.handle.close();
    throw error;
  }
}

async function asRefusal(check: 'gate.state', run: () => Promise<void>): Promise<void> {
  try {
    await run();
  } catch (error) {
    throw new GateRefusal(check, error);
  }
}

function bindListener(field: string, address: string): BoundTcp | undefined {
  const listener = parseListener(address);
  return listener === undefined ? undefined : bindTcp(field, listener.host, listener.port);
}

function logStart(passed: Passed, bound: Bound, options: ServeOptions, log: Log): void {
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

function custodyOf(passed: Passed, bound: Bound, options: ServeOptions, build: StartMessage['build']): Custody {
  const listener = (tcp: BoundTcp | undefined) => tcp && { host: tcp.host, port: tcp.port };
  const metrics = listener(bound.metrics);
  const health = listener(bound.health);
  return {
    store: passed.store,
    credentials: passed.credentials,
    privilege: passed.identity.privilege,
    start: {
      kind: 'start',
      task: 'serve',
      build,
      config: withoutPaths(passed.document),
      overrides: Object.fromEntries(options.overrides ?? []),
      identityFingerprint: deriveFingerprint(passed.config.identity),
      ...(metrics === undefined ? {} : { metrics }),
      ...(health === undefined ? {} : { health }),
    },
  };
}

type Watched = { readonly credentialsChanged: () => void; readonly countersChanged: () => void };

/** Looks at credential files and at the socket's name, for as long as the process lives. */
function watchCustody(passed: Passed, bound: Bound, loop: Watched, counters: Counters, clock: Clock, log: Log): void {
  const every = (ms: number, look: () => void) => {
    const tick = () => {
      look();
      clock.after(ms, tick);
    };
    clock.after(ms, tick);
  };
  every(credentialLookMs, () => loop.credentialsChanged());
  const event = createQuietPeriod(clock, () => loop.credentialsChanged());
  watchDirectories(passed.credentials.directories(), event);
  every(nameLookMs, () => {
    const isLost = !isNameOurs(bound) || !isDirectorySafe(passed, log);
    if (isLost === counters.socketLost) return;
    counters.socketLost = isLost;
    log(isLost ? 'error' : 'info', isLost ? 'socket.lost' : 'socket.found', {
      hint: isLost ? 'the name of the socket or its directory changed; put it right or restart the service' : undefined,
    });
    loop.countersChanged();
  });
}

function isNameOurs({ socket }: Bound): boolean {
  try {
    return socket.isOurs();
  } catch {
    return false;
  }
}

function isDirectorySafe(passed: Passed, log: Log): boolean {
  try {
    passed.socket.directory.check();
    return true;
  } catch {
    log('error', 'directory.unsafe', { check: 'gate.runtime_directory' });
    return false;
  }
}

/** `serve.ready`, once: at the first healthy word, or when the grace is over and a plugin has spoken. */
function createReadiness(clock: Clock, log: Log, ready: () => void) {
  let hasSpoken = false;
  let isGraceOver = false;
  let isDone = false;
  let last: HealthMessage | undefined;
  const settle = () => {
    const isReady = last?.healthz === 'ok' || (isGraceOver && hasSpoken);
    if (isDone || !isReady) return;
    isDone = true;
    ready();
    log('info', 'serve.ready', { healthz: last?.healthz, reason: last?.reasons.join(',') || undefined });
  };
  return {
    begin: (graceMs: number) =>
      void clock.after(graceMs, () => {
        isGraceOver = true;
        settle();
      }),
    health: (health: HealthMessage | undefined) => {
      last = health;
      hasSpoken ||= health !== undefined;
      settle();
    },
  };
}
