// The task `serve`: builds everything from one `start` message and runs it until `drain`. Order: check what was sent, build
// the clients, open the listeners, say `ready`, probe.

import {
  type Confinement,
  type Counters,
  type CredentialMessage,
  type PluginMessage,
  type PortName,
  portNames,
  type StartMessage,
  type SupervisorMessage,
} from '../shared/channel/messages.ts';
import { requireConfig } from '../shared/config/config.ts';
import { ProviderError } from '../shared/errors/error.ts';
import type { Log } from '../shared/log/fields.ts';
import { deriveFingerprint } from '../shared/registry/fingerprint.ts';
import { checkBinding } from '../shared/registry/pair.ts';
import { parseState } from '../shared/registry/state.ts';
import type { Clock } from '../shared/time/clock.ts';
import { createLastCalls } from './health/last-calls.ts';
import { createHealthReporter } from './health/reporter.ts';
import { StatusCache } from './health/status-cache.ts';
import { type CredentialWarning, type WarningSources, warningsOf } from './health/warnings.ts';
import { createKeyService } from './key-service.ts';
import { pluginVersionPattern } from './keys/annotations.ts';
import type { CommitOutcome } from './keys/ledger.ts';
import { createKms } from './kms/kms.ts';
import { createKmsServer } from './kms/server.ts';
import { createOpenBao, type OpenBao } from './openbao.ts';
import { type CallEvidence, createCallEvidence } from './probes/call-evidence.ts';
import { createDiscovery } from './probes/discovery.ts';
import type { ProbeEvent } from './probes/probe-event.ts';
import { Probes } from './probes/probes.ts';
import { createScheduler, stopping, untilProvenHealthy } from './probes/scheduler.ts';
import { createBounds } from './telemetry/bounds.ts';
import { createCollector } from './telemetry/collect.ts';
import { createHealthEndpoint, createMetricsEndpoint, type HttpEndpoint } from './telemetry/endpoints.ts';
import { createMetrics, type Metrics } from './telemetry/metrics.ts';
import { createObserver } from './telemetry/observer.ts';
import type { ReadyFacts } from './telemetry/ready.ts';

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
  readonly eventLoopLag: () => { readonly meanMs: number; readonly p99Ms: number };
};

export type Serving = {
  /** Every message after `start`. */
  readonly receive: (message: SupervisorMessage) => void;
  /** Resolves when drained: the process may end. */
  readonly ended: Promise<void>;
};

const descriptors = { kms: 4, metrics: 5, health: 6 } as const;
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
  const { clock } = deps;
  const config = requireConfig(start.config, { overrides: new Map(Object.entries(start.overrides)) });
  if (!pluginVersionPattern.test(start.build.version)) {
    throw new ProviderError(
      'runtime_unsupported',
      'the build version is missing or malformed; install a released build',
    );
  }
  const stopped = new AbortController();
  const cache = new StatusCache(clock, {
    statusMaxStalenessMs: config.status.statusMaxStalenessMs,
    deepMaxAgeMs: deepAgeIntervals * config.status.deepProbeIntervalMs,
  });
  const state = start.state === undefined ? undefined : parseState(start.state);
  if (state !== undefined) {
    checkBinding(state, config.identity);
    cache.load(state);
  }
  let counters: Counters = start.counters;
  takeCounters(cache, counters);
  let openbao: OpenBao;
  let probes: Probes;
  let evidence: CallEvidence;
  const lastCalls = createLastCalls(clock);
  const warningSources: WarningSources = {
    credentials: () => [...openbao.session.warnings(), ...filesRefused(counters, clock.wallMs())],
    isStatusSilent: lastCalls.isStatusSilent,
    decryptFailing: () => evidence.decryptFailing(),
    rightFindings: () => cache.verdict().rightFindings,
    directoriesGone: () => cache.directoriesGone,
    portsTaken: () => counters.portsTaken,
    isRegistryLarge: () => cache.isRegistryLarge,
  };
  const startedAtMs = clock.nowMs();
  const credentialFiles = new Map<string, number>();
  const collect = createCollector({
    cache,
    config,
    build: start.build,
    counters: () => counters,
    tokens: () => openbao.tokens.status(),
    jwtTtlMs: () => openbao.session.jwtTtlMs(),
    generations: () => openbao.session.generations(),
    credentialFiles,
    isBreakerOpen: () => probes.breakerState() === 'open',
    inFlight: () => kms.inFlight(),
    lastCalls: lastCalls.times,
    warnings: () => warningsOf(warningSources),
    uptimeMs: () => clock.nowMs() - startedAtMs,
    wallMs: clock.wallMs,
    memoryUsage: deps.memoryUsage,
    eventLoopLag: deps.eventLoopLag,
  });
  const metrics: Metrics = createMetrics(collect);
  const observer = createObserver({
    log: deps.log,
    metrics,
    wallMs: clock.wallMs,
    uidKey: deps.randomBytes(32),
    correlation: config.logging.correlation && {
      incidentId: config.logging.correlation.incidentId,
      endsAtUnixMs: clock.wallMs() + config.logging.correlation.ttlMs,
    },
  });
  const reached = createBounds(deps.log, metrics, clock);
  openbao = createOpenBao({
    config,
    version: start.build.version,
    clock,
    random: deps.random,
    send: deps.send,
    observeRequest: observer.request,
    observeToken: (event) => {
      observer.token(event);
      if (event.error === undefined) evidence.answeredWell();
    },
    stopped: stopped.signal,
  });
  let reporter: ReturnType<typeof createHealthReporter> | undefined;
  const commits = createCommits(deps.send, stopped.signal);
  const observeProbe = (event: ProbeEvent) => {
    observer.probe(event);
    const isScheduled = event.kind === 'probe' && event.trigger === 'schedule' && event.failed === undefined;
    if (isScheduled) discovery.forget();
    if (event.kind === 'probe' || event.kind === 'rights') schedule.replan();
    // Before `ready` nobody may hear of health; the cache has not taken this probe's result yet.
    if (event.kind === 'probe' || event.kind === 'rights') clock.after(0, () => reporter?.look());
  };
  probes = new Probes({
    clock,
    random: deps.random,
    transit: openbao.transit,
    cache,
    readRights: openbao.readRights,
    commit: commits.propose,
    randomBytes: deps.randomBytes,
    observe: observeProbe,
    settings: {
      identity: config.identity,
      identityFingerprint: deriveFingerprint(config.identity),
      keyName: config.identity.transitKeyName,
      stableCount: config.rotation.requireStableObservationCount,
      activationDelayMs: config.rotation.activationDelayMs,
      probeIntervalMs: config.status.probeIntervalMs,
      rejectVersionRollback: config.rotation.rejectVersionRollback,
      timeoutMs: config.openbao.timeoutMs,
      stable: start.stable,
    },
  });
  const scheduler = { clock, random: deps.random, probes, cache, settings: { ...config.bootstrap, ...config.status } };
  const schedule = createScheduler(scheduler);
  evidence = createCallEvidence({ clock, cache, probes, scheduler: schedule });
  const discovery = createDiscovery({
    clock,
    cache,
    probes,
    settings: { probeIntervalMs: config.status.probeIntervalMs, timeoutMs: config.openbao.timeoutMs },
    stopped: stopped.signal,
  });
  const kms = createKms({
    clock,
    keys: createKeyService({
      cache,
      transit: openbao.transit,
      discovery,
      evidence,
      pluginVersion: start.build.version,
    }),
    settings: { ...config.server, timeoutMs: config.openbao.timeoutMs },
    observe: (event) => {
      lastCalls.called(event.method);
      observer.kms(event);
    },
    countKeyIdError: (reason) => metrics.count('decrypt_key_id_errors_total', { reason }),
    countAadError: (reason) => metrics.count('aad_validation_errors_total', { reason }),
    reached,
  });
  const takeCredential = (message: CredentialMessage) => {
    credentialFiles.set(message.name, message.modifiedAtUnixMs);
    openbao.credential(message);
  };
  for (const message of credentials) takeCredential(message);
  deps.credentialsArrive(takeCredential);
  // A CA that is absent may come; one that is there and unusable ends the start with its reason.
  if (credentials.some(({ name, bytes }) => name === 'openbao_ca' && bytes !== undefined)) openbao.session.pools();
  const readyFacts = (): ReadyFacts => {
    const nextMs = schedule.nextProbeAtMs();
    return {
      verdict: cache.verdict(),
      breaker: probes.breakerState(),
      nextProbeAtUnixMs: nextMs === undefined ? undefined : clock.wallMs() + nextMs - clock.nowMs(),
      warnings: warningsOf(warningSources),
    };
  };
  if (start.listen === 'when_healthy') await untilProvenHealthy(scheduler, stopped.signal);
  const server = createKmsServer(kms, clock, { timeoutMs: config.openbao.timeoutMs, reached });
  let isLive = false;
  const diagnostics = { clock, reached };
  const { endpoints, portsUnopened } = await openListeners(start, server, {
    metrics: createMetricsEndpoint(diagnostics, metrics.text),
    health: createHealthEndpoint(diagnostics, () => isLive, readyFacts),
  });
  isLive = true;
  lastCalls.opened();
  const ended = Promise.withResolvers<void>();
  const drain = async (deadlineMs: number, isReplaced: boolean) => {
    cache.isShuttingDown = true;
    stopped.abort(stopping());
    // In a replacement the next plugin answers at once; in a stop somebody may want to know how it goes until its end.
    const closed = isReplaced ? closeAll(endpoints) : undefined;
    const cut = await server.drain(deadlineMs);
    reporter?.stop();
    await (closed ?? closeAll(endpoints));
    deps.send({ kind: 'drained', cut });
    await openbao.close();
    ended.resolve();
  };
  const receive = (message: SupervisorMessage) => {
    if (message.kind === 'committed') commits.committed(message);
    if (message.kind === 'ping') deps.send({ kind: 'pong', id: message.id, lagMs: deps.eventLoopLag().meanMs });
    if (message.kind === 'credential') takeCredential(message);
    if (message.kind === 'counters') {
      counters = message.counters;
      takeCounters(cache, counters);
    }
    if (message.kind === 'drain' && !cache.isShuttingDown) void drain(message.deadlineMs, message.reason === 'replace');
  };
  deps.send({ kind: 'ready', ...deps.confinement(), portsUnopened });
  const warnings = () => warningsOf(warningSources);
  reporter = createHealthReporter({
    clock,
    cache,
    warnings,
    calls: lastCalls,
    isCredentialEnding: openbao.session.isJwtEnding,
    send: deps.send,
  });
  void schedule.run(stopped.signal);
  return { receive, ended: ended.promise };
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

type Endpoints = Readonly<Record<PortName, HttpEndpoint>>;

async function openListeners(
  start: StartMessage,
  server: { listen: (descriptor: number) => Promise<void> },
  endpoints: Endpoints,
): Promise<{ readonly endpoints: readonly HttpEndpoint[]; readonly portsUnopened: PortName[] }> {
  const portsUnopened: PortName[] = [];
  for (const name of portNames) {
    const address = start[name];
    // Whoever took the port between our bind and our listen takes the diagnostics and not the service.
    const isOpen = address === undefined || (await opens(endpoints[name], descriptors[name], address));
    if (!isOpen) portsUnopened.push(name);
  }
  try {
    await server.listen(descriptors.kms);
  } catch (cause) {
    throw new ProviderError('listener_unavailable', 'the KMS socket cannot be opened', { cause });
  }
  return { endpoints: [endpoints.health, endpoints.metrics], portsUnopened };
}

const opens = (endpoint: HttpEndpoint, descriptor: number, address: { host: string; port: number }) =>
  endpoint.listen(descriptor, address).then(
    () => true,
    () => false,
  );

const closeAll = (endpoints: readonly HttpEndpoint[]) => Promise.all(endpoints.map((endpoint) => endpoint.close()));

/** Proposals in flight, by id. One at a time: probes never overlap. */
function createCommits(send: (message: PluginMessage) => void, stopped: AbortSignal) {
  let lastId = 0;
  const waiting = new Map<number, (outcome: CommitOutcome) => void>();
  return {
    propose: (state: string): Promise<CommitOutcome> => {
      if (stopped.aborted) return Promise.reject(stopped.reason);
      lastId += 1;
      const commitId = lastId;
      return new Promise((resolve) => {
        waiting.set(commitId, resolve);
        send({ kind: 'propose', commitId, state });
      });
    },
    committed: (message: Extract<SupervisorMessage, { kind: 'committed' }>) => {
      const { outcome, onDisk, finding } = message;
      waiting.get(message.commitId)?.({ outcome, onDisk, ...(finding === undefined ? {} : { finding }) });
      waiting.delete(message.commitId);
    },
  };
}
