// The task `serve`: builds everything from one `start` message and runs it until `drain`. Order: check what was sent, build
// the clients, open the listeners, say `ready`, probe.

import type {
  Confinement,
  Counters,
  CredentialMessage,
  PluginMessage,
  StartMessage,
  SupervisorMessage,
} from '../../shared/channel/messages.ts';
import { type Config, requireConfig } from '../../shared/config/config.ts';
import { ProviderError } from '../../shared/errors/error.ts';
import type { Log } from '../../shared/log/fields.ts';
import { deriveFingerprint } from '../../shared/registry/fingerprint.ts';
import { checkBinding } from '../../shared/registry/pair.ts';
import { parseState } from '../../shared/registry/state.ts';
import type { Clock } from '../../shared/time/clock.ts';
import { createLastCalls, type LastCalls } from '../health/last-calls.ts';
import { createHealthReporter, type HealthReporter } from '../health/reporter.ts';
import { StatusCache } from '../health/status-cache.ts';
import { type CredentialWarning, type Warning, warningsOf } from '../health/warnings.ts';
import { createKeyService } from '../key-service.ts';
import { pluginVersionPattern } from '../keys/annotations.ts';
import { type Commits, createCommits } from '../keys/commits.ts';
import { createKms, type Kms } from '../kms/kms.ts';
import { createKmsServer, type KmsServer } from '../kms/server.ts';
import { closeEndpoints, type Endpoints, openListeners } from '../listeners.ts';
import { OpenBao } from '../openbao.ts';
import { type CallEvidence, createCallEvidence } from '../probes/call-evidence.ts';
import { createDiscovery, type Discovery } from '../probes/discovery.ts';
import type { ProbeEvent } from '../probes/probe-event.ts';
import { Probes } from '../probes/probes.ts';
import { createScheduler, type Scheduler, stopping, untilProvenHealthy } from '../probes/scheduler.ts';
import { createBounds, type Reached } from '../telemetry/bounds.ts';
import { createCollector } from '../telemetry/collect.ts';
import { createHealthEndpoint, createMetricsEndpoint } from '../telemetry/endpoints.ts';
import type { EventLoopLag } from '../telemetry/event-loop-lag.ts';
import { createMetrics, type Metrics } from '../telemetry/metrics.ts';
import { createObserver, type Observer } from '../telemetry/observer.ts';
import type { ReadyFacts } from '../telemetry/ready.ts';

export type ServeDeps = {
  readonly clock: Clock;
  readonly random: () => number;
  readonly randomBytes: (sizeBytes: number) => Buffer;
  readonly log: Log;
  readonly send: (message: PluginMessage) => void;
  readonly confinement: () => { readonly confinement: Confinement; readonly isPermissionModelOn: boolean };
  readonly memoryUsage: () => { readonly heapUsedBytes: number; readonly residentBytes: number };
  /** Credentials that arrive before this plugin serves go there at once. */
  readonly credentialsArrive: (take: (message: CredentialMessage) => void) => void;
  readonly eventLoopLag: EventLoopLag;
};

export type Serving = {
  /** Every message after `start`. */
  readonly receive: (message: SupervisorMessage) => void;
  /** Resolves when drained: the process may end. */
  readonly ended: Promise<void>;
};

const deepAgeIntervals = 3;

/**
 * Starts the service.
 *
 * @throws ProviderError before `ready`: configuration, state or listeners are not what they must be
 */
export async function startServing(
  start: StartMessage,
  credentials: readonly CredentialMessage[],
  deps: ServeDeps,
): Promise<Serving> {
  const service = new Service(start, deps);
  service.begin(credentials);
  if (start.listen === 'when_healthy') await service.untilHealthy(); // step: plugin.until-healthy
  await service.open();
  return service;
}

/** Everything that serves, and who tells whom. What one part decides stands in that part. */
class Service implements Serving {
  readonly #start: StartMessage;
  readonly #deps: ServeDeps;
  readonly #config: Config;
  readonly #stopped = new AbortController();
  readonly #ended = Promise.withResolvers<void>();
  readonly #startedAtMs: number;
  readonly #cache: StatusCache;
  readonly #lastCalls: LastCalls;
  readonly #credentialFiles = new Map<string, number>();
  readonly #metrics: Metrics;
  readonly #observer: Observer;
  readonly #reached: Reached;
  readonly #openbao: OpenBao;
  readonly #commits: Commits;
  readonly #probes: Probes;
  readonly #scheduling: Parameters<typeof createScheduler>[0];
  readonly #scheduler: Scheduler;
  readonly #evidence: CallEvidence;
  readonly #discovery: Discovery;
  readonly #kms: Kms;
  readonly #server: KmsServer;
  readonly #endpoints: Endpoints;
  #reporter: HealthReporter | undefined;
  #counters: Counters;
  #isLive = false;

  /** @throws ProviderError: what was sent cannot be served */
  constructor(start: StartMessage, deps: ServeDeps) {
    const { clock } = deps;
    this.#start = start;
    this.#deps = deps;
    this.#startedAtMs = clock.nowMs();
    this.#config = requireConfig(start.config, { overrides: new Map(Object.entries(start.overrides)) });
    checkBuild(start);
    this.#cache = this.#createCache();
    this.#counters = start.counters;
    takeCounters(this.#cache, start.counters);
    this.#lastCalls = createLastCalls(clock);
    this.#metrics = createMetrics(this.#createCollector());
    this.#observer = this.#createObserver();
    this.#reached = createBounds(deps.log, this.#metrics, clock);
    this.#commits = createCommits(deps.send, this.#stopped.signal);
    this.#openbao = this.#createOpenBao();
    this.#probes = this.#createProbes();
    const { bootstrap, status } = this.#config;
    const settings = { ...bootstrap, ...status };
    this.#scheduling = { clock, random: deps.random, probes: this.#probes, cache: this.#cache, settings };
    this.#scheduler = createScheduler(this.#scheduling);
    const parts = { clock, cache: this.#cache, probes: this.#probes };
    this.#evidence = createCallEvidence({ ...parts, scheduler: this.#scheduler });
    this.#discovery = createDiscovery({
      ...parts,
      settings: { probeIntervalMs: status.probeIntervalMs, timeoutMs: this.#config.openbao.timeoutMs },
      stopped: this.#stopped.signal,
    });
    this.#kms = this.#createKms();
    const server = { timeoutMs: this.#config.openbao.timeoutMs, reached: this.#reached };
    this.#server = createKmsServer(this.#kms, clock, server); // step: plugin.server
    this.#endpoints = this.#createEndpoints();
  }

  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** @throws ProviderError `ca_invalid`: a CA that is absent may come; one that is there and unusable ends the start */
  begin(credentials: readonly CredentialMessage[]): void {
    for (const message of credentials) this.#takeCredential(message);
    this.#deps.credentialsArrive(this.#takeCredential);
    const hasCa = credentials.some(({ name, bytes }) => name === 'openbao_ca' && bytes !== undefined);
    if (hasCa) this.#openbao.session.pools();
  }

  /** @throws the reason of the stop when that comes first */
  untilHealthy(): Promise<void> {
    return untilProvenHealthy(this.#scheduling, this.#stopped.signal);
  }

  /** Opens the listeners and says so. @throws ProviderError `listener_unavailable` */
  async open(): Promise<void> {
    const { send, confinement, clock } = this.#deps;
    const portsUnopened = await openListeners(this.#start, this.#server, this.#endpoints);
    this.#isLive = true;
    this.#lastCalls.opened();
    send({ kind: 'ready', ...confinement(), portsUnopened }); // step: plugin.ready
    this.#reporter = createHealthReporter({
      clock,
      cache: this.#cache,
      warnings: this.#warnings,
      calls: this.#lastCalls,
      isCredentialEnding: this.#openbao.session.isLoginEnding,
      send,
    });
    void this.#scheduler.run(this.#stopped.signal);
  }

  receive = (message: SupervisorMessage): void => {
    const { send, eventLoopLag } = this.#deps;
    if (message.kind === 'committed') this.#commits.committed(message);
    if (message.kind === 'ping') send({ kind: 'pong', id: message.id, lagMs: eventLoopLag.pinged() });
    if (message.kind === 'credential') this.#takeCredential(message);
    if (message.kind === 'counters') {
      this.#counters = message.counters;
      takeCounters(this.#cache, message.counters);
    }
    const isFirstDrain = message.kind === 'drain' && !this.#cache.isShuttingDown;
    if (isFirstDrain) void this.#drain(message.deadlineMs, message.reason === 'replace');
  };

  async #drain(deadlineMs: number, isReplaced: boolean): Promise<void> {
    this.#cache.isShuttingDown = true; // step: plugin.shutting-down
    this.#stopped.abort(stopping());
    // In a replacement the next plugin answers at once; in a stop somebody may want to know how it goes until its end.
    const closed = isReplaced ? closeEndpoints(this.#endpoints) : undefined;
    const cut = await this.#server.drain(deadlineMs);
    this.#reporter?.stop();
    await (closed ?? closeEndpoints(this.#endpoints));
    this.#deps.send({ kind: 'drained', cut }); // step: plugin.drained
    await this.#openbao.close();
    this.#ended.resolve();
  }

  #takeCredential = (message: CredentialMessage): void => {
    this.#credentialFiles.set(message.name, message.modifiedAtUnixMs);
    this.#openbao.credential(message);
  };

  #warnings = (): readonly Warning[] => {
    const { clock } = this.#deps;
    return warningsOf({
      credentials: () => [...this.#openbao.session.warnings(), ...filesRefused(this.#counters, clock.wallMs())],
      isStatusSilent: this.#lastCalls.isStatusSilent,
      decryptFailing: () => this.#evidence.decryptFailing(),
      rightFindings: () => this.#cache.verdict().rightFindings,
      directoriesGone: () => this.#cache.directoriesGone,
      portsTaken: () => this.#counters.portsTaken,
      isRegistryLarge: () => this.#cache.isRegistryLarge,
    });
  };

  #readyFacts = (): ReadyFacts => {
    const { clock } = this.#deps;
    const nextMs = this.#scheduler.nextProbeAtMs();
    return {
      verdict: this.#cache.verdict(),
      breaker: this.#probes.breakerState(),
      nextProbeAtUnixMs: nextMs === undefined ? undefined : clock.wallMs() + nextMs - clock.nowMs(),
      warnings: this.#warnings(),
    };
  };

  #createCache(): StatusCache {
    const { status, identity } = this.#config;
    const cache = new StatusCache(this.#deps.clock, {
      statusMaxStalenessMs: status.statusMaxStalenessMs,
      deepMaxAgeMs: deepAgeIntervals * status.deepProbeIntervalMs,
    });
    if (this.#start.state === undefined) return cache;
    const state = parseState(this.#start.state);
    checkBinding(state, identity);
    cache.load(state);
    return cache;
  }

  #createCollector(): (metrics: Metrics) => void {
    const { clock, memoryUsage, eventLoopLag } = this.#deps;
    return createCollector({
      cache: this.#cache,
      config: this.#config,
      build: this.#start.build,
      counters: () => this.#counters,
      tokens: () => this.#openbao.tokens.status(),
      login: () => this.#openbao.session.facts(),
      trustTtlMs: () => this.#openbao.session.trustTtlMs(),
      generations: () => this.#openbao.session.generations(),
      credentialFiles: this.#credentialFiles,
      isBreakerOpen: () => this.#probes.breakerState() === 'open',
      inFlight: () => this.#kms.inFlight(),
      lastCalls: this.#lastCalls.times,
      warnings: this.#warnings,
      uptimeMs: () => clock.nowMs() - this.#startedAtMs,
      wallMs: clock.wallMs,
      memoryUsage,
      eventLoopLag: eventLoopLag.scraped,
    });
  }

  #createObserver(): Observer {
    const { clock, log, randomBytes } = this.#deps;
    const { correlation } = this.#config.logging;
    return createObserver({
      log,
      metrics: this.#metrics,
      wallMs: clock.wallMs,
      uidKey: randomBytes(32),
      isDebug: this.#config.logging.level === 'debug',
      correlation: correlation && {
        incidentId: correlation.incidentId,
        endsAtUnixMs: clock.wallMs() + correlation.ttlMs,
      },
    });
  }

  #createOpenBao(): OpenBao {
    const { clock, random, send } = this.#deps;
    return new OpenBao({
      config: this.#config,
      version: this.#start.build.version,
      clock,
      random,
      send,
      recordRequest: this.#observer.request,
      recordToken: (event) => {
        this.#observer.token(event);
        if (event.error === undefined) this.#evidence.answeredWell();
      },
      stopped: this.#stopped.signal,
    });
  }

  #createProbes(): Probes {
    const { clock, random, randomBytes } = this.#deps;
    const { identity, rotation, status, openbao } = this.#config;
    return new Probes({
      clock,
      random,
      transit: this.#openbao.transit,
      cache: this.#cache,
      readRights: this.#openbao.readRights,
      commit: this.#commits.propose,
      randomBytes,
      record: this.#probed,
      settings: {
        identity,
        identityFingerprint: deriveFingerprint(identity),
        keyName: identity.transitKeyName,
        stableCount: rotation.requireStableObservationCount,
        activationDelayMs: rotation.activationDelayMs,
        probeIntervalMs: status.probeIntervalMs,
        rejectVersionRollback: rotation.rejectVersionRollback,
        timeoutMs: openbao.timeoutMs,
        stable: this.#start.stable,
      },
    });
  }

  #probed = (event: ProbeEvent): void => {
    this.#observer.probe(event);
    const isScheduled = event.kind === 'probe' && event.trigger === 'schedule' && event.failed === undefined;
    if (isScheduled) this.#discovery.forget();
    if (event.kind !== 'probe' && event.kind !== 'rights') return;
    this.#scheduler.replan();
    // Before `ready` nobody may hear of health; the cache has not taken this probe's result yet.
    this.#deps.clock.after(0, () => this.#reporter?.look());
  };

  #createKms(): Kms {
    const { server, openbao, transit } = this.#config;
    return createKms({
      clock: this.#deps.clock,
      keys: createKeyService({
        cache: this.#cache,
        transit: this.#openbao.transit,
        discovery: this.#discovery,
        evidence: this.#evidence,
        pluginVersion: this.#start.build.version,
      }),
      settings: { ...server, isBatching: transit.batchDecrypt === 'auto', timeoutMs: openbao.timeoutMs },
      sentDecrypts: this.#observer.sentDecrypts,
      batchesOff: this.#observer.batchesOff,
      record: (event) => {
        this.#lastCalls.called(event.method);
        this.#observer.kms(event);
      },
      countKeyIdError: (reason) => this.#metrics.count('decrypt_key_id_errors_total', { reason }),
      countAadError: (reason) => this.#metrics.count('aad_validation_errors_total', { reason }),
      reached: this.#reached,
    });
  }

  #createEndpoints(): Endpoints {
    const diagnostics = { clock: this.#deps.clock, reached: this.#reached };
    return {
      metrics: createMetricsEndpoint(diagnostics, this.#metrics.text),
      health: createHealthEndpoint(diagnostics, () => this.#isLive, this.#readyFacts),
    };
  }
}

/** @throws ProviderError `runtime_unsupported` */
function checkBuild({ build }: StartMessage): void {
  if (pluginVersionPattern.test(build.version)) return;
  throw new ProviderError('runtime_unsupported', 'the build version is missing or malformed; install a released build');
}

/** Files that the supervisor cannot read safely: no newer generation of them can arrive. */
function filesRefused({ filesRefused: files }: Counters, nowUnixMs: number): readonly CredentialWarning[] {
  return files.map(({ name, reason, sinceUnixMs }) => ({
    name,
    state: 'refused',
    class: reason,
    waitingMs: Math.max(0, nowUnixMs - sinceUnixMs),
  }));
}

function takeCounters(cache: StatusCache, counters: Counters): void {
  cache.isSocketLost = counters.socketLost;
  cache.directoriesGone = counters.directoriesGone;
}
