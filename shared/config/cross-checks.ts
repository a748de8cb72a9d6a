// Rules between fields, and what deserves a warning. Rules are skipped where one side already failed its own.

import { posix } from 'node:path';
import type { Decoded, Values } from './decode.ts';
import type { FieldPath, PathOf } from './fields.ts';
import { type Problem, problem } from './problem.ts';
import { parseListener } from './rules.ts';

const approvedDirectories = ['/run/openbao-kms', '/var/run/openbao-kms'];
const maxCorrelationMs = 3_600_000;

/**
 * @param failed  fields that already have a problem of their own
 * @param developmentDirectory  the directory below which `--development` accepts a socket
 */
export function checkRelations(
  decoded: Decoded,
  failed: ReadonlySet<string>,
  developmentDirectory: string | undefined,
): Problem[] {
  const isSound = (...paths: FieldPath[]) => paths.every((path) => !failed.has(path));
  return [
    ...(isSound('server.socketPath') ? checkSocketDirectory(decoded.values, developmentDirectory) : []),
    ...checkDurations(decoded.values, isSound),
    ...(isSound('server.metricsAddress', 'server.healthAddress') ? checkListeners(decoded.values) : []),
    ...checkCorrelation(decoded.values, isSound),
    ...checkAuth(decoded),
    ...checkProcess(decoded.values),
  ];
}

function checkSocketDirectory(values: Values, developmentDirectory: string | undefined): Problem[] {
  const directory = posix.dirname(posix.normalize(textOf(values, 'server.socketPath')));
  const approved = [...approvedDirectories, ...(developmentDirectory === undefined ? [] : [developmentDirectory])];
  const isBelow = (parent: string) => directory === parent || directory.startsWith(`${parent}/`);
  if (approved.some(isBelow)) return [];
  const where = 'must be below /run/openbao-kms or /var/run/openbao-kms';
  const orHere = developmentDirectory === undefined ? '' : ', or, with --development, below the current directory';
  return [problem('server.socketPath', 'directory', `${where}${orHere}`)];
}

function checkDurations(values: Values, isSound: (...paths: FieldPath[]) => boolean): Problem[] {
  const problems: Problem[] = [];
  const ms = (path: FieldPath) => Number(values.get(path));
  const probe = 'status.probeInterval';
  const staleness = 'status.statusMaxStaleness';
  if (isSound(probe, staleness) && ms(probe) >= ms(staleness)) {
    problems.push(problem(probe, 'r1', 'must be shorter than status.statusMaxStaleness'));
  }
  if (isSound(probe, 'status.deepProbeInterval') && ms('status.deepProbeInterval') < ms(probe)) {
    problems.push(problem('status.deepProbeInterval', 'range', 'must not be shorter than status.probeInterval'));
  }
  const increment = 'auth.tokenRenewalIncrement';
  if (isSound(increment, 'auth.loginBeforeTokenExpiry') && ms(increment) <= ms('auth.loginBeforeTokenExpiry')) {
    problems.push(problem(increment, 'r2', 'must exceed auth.loginBeforeTokenExpiry'));
  }
  return problems;
}

function checkListeners(values: Values): Problem[] {
  const metrics = parseListener(textOf(values, 'server.metricsAddress'));
  const health = parseListener(textOf(values, 'server.healthAddress'));
  if (metrics === undefined || health === undefined || metrics.port !== health.port || metrics.port === 0) return [];
  if (canonicalHost(metrics.host) !== canonicalHost(health.host)) return [];
  return [problem('server.metricsAddress', 'r3', 'must differ from server.healthAddress for a fixed port')];
}

function canonicalHost(host: string): string {
  return host.toLowerCase().replace(/^::ffff:(?=\d+\.)/u, '');
}

function checkCorrelation(values: Values, isSound: (...paths: FieldPath[]) => boolean): Problem[] {
  if (values.get('logging.debugCorrelation.enabled') !== true) return [];
  const problems: Problem[] = [];
  const ttl = 'logging.debugCorrelation.ttl';
  const incident = 'logging.debugCorrelation.incidentId';
  const ttlMs = Number(values.get(ttl));
  if (values.get('logging.level') !== 'debug') {
    problems.push(problem('logging.level', 'r4', 'must be debug while logging.debugCorrelation is enabled'));
  }
  if (values.get('logging.logOpenBaoRequestIDs') !== true) {
    problems.push(problem('logging.logOpenBaoRequestIDs', 'r4', 'must be true while debug correlation is enabled'));
  }
  if (isSound(ttl) && ttlMs <= 0) problems.push(problem(ttl, 'positive', 'must be positive'));
  if (isSound(ttl) && ttlMs > maxCorrelationMs) problems.push(problem(ttl, 'range', 'must not exceed 1h'));
  if (isSound(incident) && textOf(values, incident) === '') problems.push(problem(incident, 'required', 'is required'));
  return problems;
}

function checkAuth(decoded: Decoded): Problem[] {
  const { values, written } = decoded;
  const method = values.get('auth.method');
  if (method === 'cert') {
    const isSpiffe = values.get('auth.cert.source') === 'spiffe';
    const spiffe = 'cannot be spiffe: OpenBao derives no identity alias from a URI SAN';
    const unavailable = 'cert is not available in this version of the program; use jwt';
    return [
      ...(isSpiffe ? [problem('auth.cert.source', 'spiffe', spiffe)] : []),
      problem('auth.method', 'unavailable', unavailable),
    ];
  }
  return method === 'jwt' ? checkJwt(values, written) : [];
}

function checkJwt(values: Values, written: ReadonlySet<string>): Problem[] {
  const hasFile = textOf(values, 'auth.jwt.jwtFile') !== '';
  const hasOauth2 = written.has('auth.jwt.oauth2');
  const isFileMeant = !written.has('auth.jwt.source') && hasFile && !hasOauth2;
  const source = isFileMeant ? 'file' : values.get('auth.jwt.source');
  if (source === undefined) return [problem('auth.jwt.source', 'required', 'is required')];
  const problems: Problem[] = [];
  if (source === 'file') {
    if (!hasFile) problems.push(problem('auth.jwt.jwtFile', 'required', 'is required'));
    if (hasOauth2) problems.push(problem('auth.jwt.oauth2', 'r5', 'must be omitted for source file'));
  }
  if (source === 'oauth2') problems.push(...checkOauth2(values, hasFile));
  return problems;
}

function checkOauth2(values: Values, hasFile: boolean): Problem[] {
  const problems: Problem[] = [];
  if (hasFile) problems.push(problem('auth.jwt.jwtFile', 'r5', 'must be omitted for source oauth2'));
  if (textOf(values, 'auth.jwt.expectedIssuer') === '') {
    problems.push(problem('auth.jwt.expectedIssuer', 'required', 'is required'));
  }
  const audience = values.get('auth.jwt.expectedAudience');
  if (!Array.isArray(audience) || audience.length === 0) {
    const message = 'must contain at least one audience for source oauth2';
    problems.push(problem('auth.jwt.expectedAudience', 'required', message));
  }
  const unavailable = 'oauth2 is not available in this version of the program; use file';
  problems.push(problem('auth.jwt.source', 'unavailable', unavailable));
  return problems;
}

function checkProcess(values: Values): Problem[] {
  const isGroupAlone = textOf(values, 'process.pluginGroup') !== '' && textOf(values, 'process.pluginUser') === '';
  return isGroupAlone ? [problem('process.pluginGroup', 'alone', 'needs process.pluginUser')] : [];
}

/** What is allowed but deserves a second look. */
export function configWarnings(values: Values): Problem[] {
  const warnings: Problem[] = [];
  for (const path of ['server.metricsAddress', 'server.healthAddress'] as const) {
    const listener = parseListener(textOf(values, path));
    const isLoopback = /^(?:127\.[0-9.]+|::1|localhost)$/u.test(listener?.host ?? '127.0.0.1');
    if (!isLoopback) warnings.push(problem(path, 'routable', 'is not a loopback address: anybody may read it'));
  }
  if (Number(values.get('status.statusMaxStaleness')) < 2 * Number(values.get('status.probeInterval'))) {
    const message = 'is less than twice status.probeInterval: one slow probe turns Status unhealthy';
    warnings.push(problem('status.statusMaxStaleness', 'short', message));
  }
  return warnings;
}

function textOf(values: Values, path: PathOf<{ readonly kind: 'string' }>): string {
  const value = values.get(path);
  return typeof value === 'string' ? value : '';
}
