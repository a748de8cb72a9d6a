// The configuration as the program uses it: typed, complete, frozen. Both processes build it with this code, the
// supervisor from the file, the plugin from what it was sent.

import type { CredentialName } from '../channel/messages.ts';
import type { BoundIdentity } from '../registry/fingerprint.ts';
import { checkRelations, configWarnings } from './cross-checks.ts';
import { checkField, decodeDocument, type Values } from './decode.ts';
import { type Field, fields } from './fields.ts';
import { type LoginMethodName, loginMethodNames } from './login-methods.ts';
import { ConfigInvalid, type Problem, problem } from './problem.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

export type Config = {
  readonly server: {
    readonly socketPath: string;
    readonly socketMode: number;
    readonly socketGroup: string;
    readonly metricsAddress: string;
    readonly healthAddress: string;
    readonly maxConcurrentStatus: number;
    readonly maxConcurrentEncrypt: number;
    readonly maxConcurrentDecrypt: number;
  };
  readonly openbao: {
    /** Effective: ends with the path prefix. */
    readonly address: string;
    readonly tlsServerName: string;
    readonly namespace: string;
    readonly timeoutMs: number;
  };
  readonly auth: {
    readonly method: LoginMethodName;
    readonly loginBeforeTokenExpiryMs: number;
    readonly tokenRenewalIncrementMs: number;
    /** Effective: the default is already worked out. */
    readonly loginTimeoutMs: number;
    readonly jwt: {
      readonly mountPath: string;
      readonly role: string;
      readonly minRemainingTtlMs: number;
      readonly clockSkewLeewayMs: number;
      readonly expectedIssuer: string;
      readonly expectedAudience: readonly string[];
      readonly expectedSubject: string;
    };
  };
  /** Files whose bytes the supervisor holds in custody; empty: not named by this configuration. */
  readonly credentialPaths: Readonly<Record<CredentialName, string>>;
  readonly identity: BoundIdentity;
  readonly bootstrap: { readonly graceTimeoutMs: number; readonly retryIntervalMs: number };
  readonly status: {
    readonly probeIntervalMs: number;
    readonly deepProbeIntervalMs: number;
    readonly statusMaxStalenessMs: number;
  };
  readonly state: { readonly path: string; readonly requireCheckpoint: boolean };
  readonly rotation: {
    readonly activationDelayMs: number;
    readonly requireStableObservationCount: number;
    readonly rejectVersionRollback: boolean;
  };
  readonly logging: {
    readonly level: LogLevel;
    readonly format: 'json' | 'text';
    readonly correlation: { readonly ttlMs: number; readonly incidentId: string } | undefined;
  };
  readonly process: { readonly pluginUser: string; readonly pluginGroup: string };
};

export type ConfigResult = {
  readonly config: Config | undefined;
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
};

export type ConfigOptions = {
  readonly overrides?: ReadonlyMap<string, string>;
  /** Where a socket may live besides the fixed directories: `--development` adds one. */
  readonly developmentDirectory?: string;
  /** What is wrong outside the document, such as a misspelt variable. */
  readonly foundBefore?: readonly Problem[];
};

/** Reads a parsed document and reports every problem in one pass; `config` is there only without problems. */
export function readConfig(document: unknown, options: ConfigOptions = {}): ConfigResult {
  const decoded = decodeDocument(document, options.overrides ?? new Map());
  const problems = [...(options.foundBefore ?? []), ...decoded.problems];
  if (!decoded.written.has('configVersion') && !problems.some(({ field }) => field === 'config')) {
    problems.push(problem('configVersion', 'required', 'is required'));
  }
  const failed = new Set(problems.map(({ field }) => field));
  for (const field of fields) {
    if (failed.has(field.path) || !applies(field, decoded.values, decoded.written)) continue;
    const found = checkField(field, decoded.values.get(field.path));
    if (found.length > 0) failed.add(field.path);
    problems.push(...found.map((one) => (field.only === 'oauth2' ? asOauth2Problem(one) : one)));
  }
  problems.push(...checkRelations(decoded, failed, options.developmentDirectory));
  if (problems.length > 0) return { config: undefined, problems, warnings: [] };
  return { config: toConfig(decoded.values), problems, warnings: configWarnings(decoded.values) };
}

/**
 * The same for a document that must be right.
 *
 * @throws ProviderError `config_invalid`: one line naming every problem
 */
export function requireConfig(document: unknown, options: ConfigOptions = {}): Config {
  const { config, problems } = readConfig(document, options);
  if (config === undefined) throw new ConfigInvalid(problems);
  return config;
}

function applies(field: Field, values: Values, written: ReadonlySet<string>): boolean {
  if (field.path === 'configVersion') return written.has('configVersion');
  const method = values.get('auth.method');
  if (field.only === 'oauth2') return method === 'jwt' && values.get('auth.jwt.source') === 'oauth2';
  if (field.path === 'auth.jwt.source') return method === 'jwt' && written.has('auth.jwt.source');
  return field.only === undefined || method === field.only;
}

function asOauth2Problem(found: Problem): Problem {
  const name = found.field.slice('auth.jwt.oauth2.'.length);
  return { field: 'auth.jwt.oauth2', message: `${name} ${found.message}`, code: found.code };
}

/** The identity values as far as they are there; empty ones stay empty. */
export function identityOf(values: Values): BoundIdentity {
  const text = (path: string) => String(values.get(path) ?? '');
  return {
    providerName: text('transit.keyIdScope.providerName'),
    clusterId: text('transit.keyIdScope.clusterId'),
    openbaoInstanceId: text('openbao.instanceId'),
    openbaoNamespace: text('openbao.namespace'),
    transitMountId: text('transit.keyIdScope.transitMountId'),
    transitKeyLineageId: text('transit.keyIdScope.keyLineageId'),
    transitMountPath: text('transit.mountPath'),
    transitKeyName: text('transit.keyName'),
  };
}

const minLoginTimeoutMs = 5_000;

function toConfig(values: Values): Config {
  const text = (path: string) => String(values.get(path) ?? '');
  const number = (path: string) => Number(values.get(path) ?? 0);
  const flag = (path: string) => values.get(path) === true;
  const audience = values.get('auth.jwt.expectedAudience');
  const correlation = {
    ttlMs: number('logging.debugCorrelation.ttl'),
    incidentId: text('logging.debugCorrelation.incidentId'),
  };
  return deepFreeze<Config>({
    server: {
      socketPath: text('server.socketPath'),
      socketMode: Number.parseInt(text('server.socketMode'), 8),
      socketGroup: text('server.socketGroup'),
      metricsAddress: text('server.metricsAddress'),
      healthAddress: text('server.healthAddress'),
      maxConcurrentStatus: number('server.maxConcurrentStatus'),
      maxConcurrentEncrypt: number('server.maxConcurrentEncrypt'),
      maxConcurrentDecrypt: number('server.maxConcurrentDecrypt'),
    },
    openbao: {
      address: `${text('openbao.address').replace(/\/$/u, '')}${text('openbao.pathPrefix')}`,
      tlsServerName: text('openbao.tlsServerName'),
      namespace: text('openbao.namespace'),
      timeoutMs: number('openbao.timeout'),
    },
    auth: {
      method: loginMethod(text('auth.method')),
      loginBeforeTokenExpiryMs: number('auth.loginBeforeTokenExpiry'),
      tokenRenewalIncrementMs: number('auth.tokenRenewalIncrement'),
      loginTimeoutMs: number('auth.loginTimeout') || Math.max(number('openbao.timeout'), minLoginTimeoutMs),
      jwt: {
        mountPath: text('auth.jwt.mountPath'),
        role: text('auth.jwt.role'),
        minRemainingTtlMs: number('auth.jwt.minRemainingTtl'),
        clockSkewLeewayMs: number('auth.jwt.clockSkewLeeway'),
        expectedIssuer: text('auth.jwt.expectedIssuer'),
        expectedAudience: Array.isArray(audience) ? audience.map(String) : [],
        expectedSubject: text('auth.jwt.expectedSubject'),
      },
    },
    credentialPaths: {
      openbao_ca: text('openbao.caCertFile'),
      jwt: text('auth.jwt.jwtFile'),
      client_secret: text('auth.jwt.oauth2.clientSecretFile'),
      issuer_ca: text('auth.jwt.oauth2.caCertFile'),
      client_chain: text('auth.cert.pkcs11.certificateFile'),
      pin: text('auth.cert.pkcs11.pinFile'),
    },
    identity: identityOf(values),
    bootstrap: {
      graceTimeoutMs: number('bootstrap.graceTimeout'),
      retryIntervalMs: number('bootstrap.retryInterval'),
    },
    status: {
      probeIntervalMs: number('status.probeInterval'),
      deepProbeIntervalMs: number('status.deepProbeInterval'),
      statusMaxStalenessMs: number('status.statusMaxStaleness'),
    },
    state: { path: text('state.path'), requireCheckpoint: flag('state.requireCheckpoint') },
    rotation: {
      activationDelayMs: number('rotation.activationDelay'),
      requireStableObservationCount: number('rotation.requireStableObservationCount'),
      rejectVersionRollback: flag('rotation.rejectVersionRollback'),
    },
    logging: {
      level: logLevel(text('logging.level')),
      format: text('logging.format') === 'text' ? 'text' : 'json',
      correlation: flag('logging.debugCorrelation.enabled') ? correlation : undefined,
    },
    process: { pluginUser: text('process.pluginUser'), pluginGroup: text('process.pluginGroup') },
  });
}

/** The rule of the field and the relations have refused every other. */
function loginMethod(text: string): LoginMethodName {
  const known = loginMethodNames.find((name) => name === text);
  if (known === undefined) throw new Error('a login method that is not in the table passed the checks');
  return known;
}

function logLevel(text: string): LogLevel {
  return text === 'debug' || text === 'warn' || text === 'error' ? text : 'info';
}

function deepFreeze<T extends object>(value: T): T {
  for (const child of Object.values(value)) {
    if (typeof child === 'object' && child !== null) deepFreeze(child);
  }
  return Object.freeze(value);
}
