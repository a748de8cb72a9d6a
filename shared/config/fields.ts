// Every field of the configuration, one row each, with all that follows from it. The decoder, the JSON Schema, `Config`, what is withheld
// from the plugin, what a reload may change, the overrides and docs/configuration.md are derived from these rows.

import * as address from './address-rules.ts';
import { type LoginMethodName, loginMethodNames } from './login-methods.ts';
import type { PathRule, Rule } from './rules.ts';
import * as rule from './rules.ts';

type Common = {
  /** What it is for: one sentence of docs/configuration.md and of the JSON Schema. */
  readonly about: string;
  /**
   * What it takes to change the field: `identity`: it can never change, because what is encrypted depends on it; `restart`: a new start
   * of the supervisor; `reload`: a reload is enough.
   */
  readonly changes: 'identity' | 'restart' | 'reload';
  /** Must be written where its section is used; the JSON Schema says so, and a default does not excuse it. */
  readonly isRequired?: true;
  /** Applies only when this section is chosen. */
  readonly only?: LoginMethodName | 'oauth2' | 'cert';
};

type Text = Common & { readonly kind: 'string'; readonly byDefault?: string };

/** A path of this host: the plugin is sent a placeholder instead of it, and it cannot be overridden, because overrides are sent as they are. */
type PathRow = Text & {
  readonly isPath: true;
  /** Sent instead of the path where `/withheld` would break a rule. */
  readonly placeholder?: string;
  readonly rules: readonly (Rule<string> | PathRule)[];
  readonly override?: never;
  readonly canonical?: never;
};

/** Any other text. The rules of paths do not fit in here. */
type TextRow = Text & {
  readonly isPath?: never;
  readonly rules: readonly Rule<string>[];
  readonly override?: Override;
  /** One spelling for all that mean the same. */
  readonly canonical?: (value: string) => string;
};

/** What wins over the file: the flag, then the first of the variables that is not empty. */
export type Override = { readonly flag: string; readonly variables: readonly string[] };

type Row =
  | PathRow
  | TextRow
  | (Common & { readonly kind: 'integer'; readonly byDefault?: number; readonly rules: readonly Rule<number>[] })
  | (Common & { readonly kind: 'boolean'; readonly byDefault: boolean })
  | (Common & { readonly kind: 'duration'; readonly byDefault: string; readonly rules: readonly Rule<number>[] })
  | (Common & { readonly kind: 'strings'; readonly rules: readonly Rule<string>[] });

/** Rows by the dotted path in the document. What is named after a file is a path. */
type Table = { readonly [path: string]: Row; readonly [file: `${string}File`]: PathRow };

const concurrency = [rule.between(1, 1024)];
const minute = 60_000;
const hour = 60 * minute;
/** The last is known and refused, with a sentence of its own. */
const authMethods = [...new Set<string>([...loginMethodNames, 'cert'])];

const table = {
  configVersion: {
    kind: 'string',
    rules: [rule.required, rule.oneOf(['v1alpha1'], 'must be v1alpha1')],
    isRequired: true,
    changes: 'reload',
    about: 'Version of this format; must be written.',
  },
  'server.socketPath': {
    kind: 'string',
    byDefault: '/run/openbao-kms/kms.sock',
    rules: [rule.required, ...rule.socketPath],
    isRequired: true,
    isPath: true,
    placeholder: '/run/openbao-kms/kms.sock',
    changes: 'restart',
    about: 'KMS socket; below /run/openbao-kms or /var/run/openbao-kms.',
  },
  'server.socketMode': {
    kind: 'string',
    byDefault: '0660',
    rules: [rule.required, ...rule.socketMode],
    canonical: (mode) => (/^[0-7]{3}$/u.test(mode) ? `0${mode}` : mode),
    isRequired: true,
    changes: 'restart',
    about: 'Mode of the socket, octal, quoted.',
  },
  'server.socketGroup': {
    kind: 'string',
    rules: [rule.required, rule.groupName],
    isRequired: true,
    changes: 'restart',
    about: 'Group that may connect: a name, or a GID in quotes.',
  },
  'server.metricsAddress': {
    kind: 'string',
    byDefault: '127.0.0.1:8081',
    rules: [rule.listener],
    changes: 'restart',
    override: {
      flag: 'metrics-address',
      variables: ['BAO_KMS_PROVIDER_SERVER_METRICS_ADDRESS', 'BAO_KMS_PROVIDER_SERVER_METRICSADDRESS'],
    },
    about: 'Prometheus endpoint, host:port; empty switches it off.',
  },
  'server.healthAddress': {
    kind: 'string',
    byDefault: '127.0.0.1:8082',
    rules: [rule.listener],
    changes: 'restart',
    override: {
      flag: 'health-address',
      variables: ['BAO_KMS_PROVIDER_SERVER_HEALTH_ADDRESS', 'BAO_KMS_PROVIDER_SERVER_HEALTHADDRESS'],
    },
    about: '/live and /ready, host:port; empty switches it off.',
  },
  'server.maxConcurrentStatus': {
    kind: 'integer',
    byDefault: 16,
    rules: concurrency,
    changes: 'reload',
    about: 'Status calls at a time; one more is refused.',
  },
  'server.maxConcurrentEncrypt': {
    kind: 'integer',
    byDefault: 32,
    rules: concurrency,
    changes: 'reload',
    about: 'Encrypt calls at a time; one more is refused.',
  },
  'server.maxConcurrentDecrypt': {
    kind: 'integer',
    byDefault: 64,
    rules: concurrency,
    changes: 'reload',
    about:
      'Requests for Decrypts at OpenBao at a time; at most 4 while one request may carry several. Further Decrypts wait.',
  },
  'openbao.address': {
    kind: 'string',
    rules: [rule.required, ...address.baoAddress],
    isRequired: true,
    changes: 'reload',
    about: 'https URL of OpenBao, without a path.',
  },
  'openbao.pathPrefix': {
    kind: 'string',
    byDefault: '',
    rules: address.pathPrefix,
    changes: 'reload',
    about: 'Prefix of every request path, for a proxy that serves OpenBao below a path.',
  },
  'openbao.caCertFile': {
    kind: 'string',
    rules: [rule.required, rule.absolutePath],
    isRequired: true,
    isPath: true,
    changes: 'reload',
    about: 'PEM bundle, the only certificates trusted for OpenBao.',
  },
  'openbao.tlsServerName': {
    kind: 'string',
    rules: [rule.required, address.tlsServerName],
    isRequired: true,
    changes: 'reload',
    about: 'DNS name or IP address that the server certificate must carry.',
  },
  'openbao.instanceId': {
    kind: 'string',
    rules: [rule.required, ...rule.identifier],
    isRequired: true,
    changes: 'identity',
    about: 'Label of this OpenBao installation.',
  },
  'openbao.namespace': {
    kind: 'string',
    byDefault: '',
    rules: address.namespacePath,
    changes: 'identity',
    about: 'OpenBao namespace; empty for the root.',
  },
  'openbao.timeout': {
    kind: 'duration',
    byDefault: '2s',
    rules: [rule.positive, rule.durationBetween(100, 30_000, 'must be between 100ms and 30s')],
    changes: 'reload',
    about: 'Bounds one request to OpenBao and one KMS call.',
  },
  'auth.method': {
    kind: 'string',
    byDefault: 'jwt',
    rules: [rule.required, rule.oneOf(authMethods, `must be one of ${authMethods.join(' or ')}`)],
    isRequired: true,
    changes: 'reload',
    about: 'Login method. `cert` is not available in this version.',
  },
  'auth.loginBeforeTokenExpiry': {
    kind: 'duration',
    byDefault: '5m',
    rules: [rule.positive],
    changes: 'reload',
    about: 'How long before its end a token is renewed.',
  },
  'auth.tokenRenewalIncrement': {
    kind: 'duration',
    byDefault: '1h',
    rules: [rule.positive],
    changes: 'reload',
    about: 'Lifetime asked for at a renewal.',
  },
  'auth.loginTimeout': {
    kind: 'duration',
    byDefault: '0s',
    rules: [rule.nonNegative],
    changes: 'reload',
    about: 'Bounds one login or renewal; 0s means the greater of openbao.timeout and 5s.',
  },
  'auth.jwt.source': {
    kind: 'string',
    only: 'jwt',
    rules: [rule.required, rule.oneOf(['file', 'oauth2'], 'must be file or oauth2')],
    changes: 'reload',
    about: 'Where the JWT comes from. `oauth2` is not available in this version.',
  },
  'auth.jwt.mountPath': {
    kind: 'string',
    only: 'jwt',
    rules: [rule.required, ...address.loginMountPath],
    isRequired: true,
    changes: 'reload',
    about: 'Path of the JWT mount, with auth/ and without /login.',
  },
  'auth.jwt.role': {
    kind: 'string',
    only: 'jwt',
    rules: [rule.required, rule.pathName],
    isRequired: true,
    changes: 'reload',
    about: 'Role to log in to.',
  },
  'auth.jwt.jwtFile': {
    kind: 'string',
    byDefault: '',
    only: 'jwt',
    rules: [rule.absolutePath],
    isPath: true,
    changes: 'reload',
    about: 'File with the JWT, for source file.',
  },
  'auth.jwt.minRemainingTtl': {
    kind: 'duration',
    byDefault: '2m',
    only: 'jwt',
    rules: [rule.positive],
    changes: 'reload',
    about: 'A JWT with less life left is not used.',
  },
  'auth.jwt.clockSkewLeeway': {
    kind: 'duration',
    byDefault: '30s',
    only: 'jwt',
    rules: [rule.nonNegative, rule.durationBetween(0, 5 * minute, 'must not exceed 5m')],
    changes: 'reload',
    about: 'Tolerance for clocks in nbf, iat and exp.',
  },
  'auth.jwt.expectedIssuer': {
    kind: 'string',
    byDefault: '',
    only: 'jwt',
    rules: rule.identifier,
    changes: 'reload',
    about: 'Claim iss must equal it.',
  },
  'auth.jwt.expectedAudience': {
    kind: 'strings',
    only: 'jwt',
    rules: rule.identifier,
    changes: 'reload',
    about: 'Claim aud must contain one of them.',
  },
  'auth.jwt.expectedSubject': {
    kind: 'string',
    byDefault: '',
    only: 'jwt',
    rules: rule.identifier,
    changes: 'reload',
    about: 'Claim sub must equal it.',
  },
  'auth.jwt.oauth2.tokenUrl': {
    kind: 'string',
    only: 'oauth2',
    rules: [rule.required, rule.tokenUrl],
    isRequired: true,
    changes: 'reload',
    about: 'Token endpoint.',
  },
  'auth.jwt.oauth2.clientId': {
    kind: 'string',
    only: 'oauth2',
    rules: [rule.required, rule.noControl],
    isRequired: true,
    changes: 'reload',
    about: 'Client identifier.',
  },
  'auth.jwt.oauth2.clientSecretFile': {
    kind: 'string',
    only: 'oauth2',
    rules: [rule.required, rule.absolutePath],
    isRequired: true,
    isPath: true,
    changes: 'reload',
    about: 'File with the client secret.',
  },
  'auth.jwt.oauth2.authMethod': {
    kind: 'string',
    only: 'oauth2',
    rules: [rule.required, rule.oneOf(['client_secret_basic', 'client_secret_post'])],
    isRequired: true,
    changes: 'reload',
    about: 'How the client authenticates.',
  },
  'auth.jwt.oauth2.scopes': {
    kind: 'strings',
    only: 'oauth2',
    rules: [rule.scope],
    changes: 'reload',
    about: 'Scopes asked for.',
  },
  'auth.jwt.oauth2.audience': {
    kind: 'string',
    byDefault: '',
    only: 'oauth2',
    rules: [rule.noControl],
    changes: 'reload',
    about: 'Audience asked for.',
  },
  'auth.jwt.oauth2.resources': {
    kind: 'strings',
    only: 'oauth2',
    rules: [rule.resource],
    changes: 'reload',
    about: 'Resource indicators asked for.',
  },
  'auth.jwt.oauth2.caCertFile': {
    kind: 'string',
    byDefault: '',
    only: 'oauth2',
    rules: [rule.absolutePath],
    isPath: true,
    changes: 'reload',
    about: 'PEM bundle for the token endpoint; empty: system roots.',
  },
  'auth.cert.mountPath': {
    kind: 'string',
    only: 'cert',
    rules: [rule.required, ...address.loginMountPath],
    isRequired: true,
    changes: 'reload',
    about: 'Path of the certificate mount, with auth/ and without /login.',
  },
  'auth.cert.name': {
    kind: 'string',
    byDefault: '',
    only: 'cert',
    rules: rule.identifier,
    changes: 'reload',
    about: 'Certificate role; empty: OpenBao tries all.',
  },
  'auth.cert.minRemainingTtl': {
    kind: 'duration',
    byDefault: '24h',
    only: 'cert',
    rules: [rule.positive],
    changes: 'reload',
    about: 'A certificate with less life left is not used.',
  },
  'auth.cert.clockSkewLeeway': {
    kind: 'duration',
    byDefault: '30s',
    only: 'cert',
    rules: [rule.nonNegative, rule.durationBetween(0, 5 * minute, 'must not exceed 5m')],
    changes: 'reload',
    about: 'Tolerance for clocks in the validity of the chain.',
  },
  'auth.cert.source': {
    kind: 'string',
    only: 'cert',
    rules: [rule.required, rule.oneOf(['pkcs11'], 'must be pkcs11')],
    isRequired: true,
    changes: 'reload',
    about: 'Where the private key is.',
  },
  'auth.cert.pkcs11.certificateFile': {
    kind: 'string',
    only: 'cert',
    rules: [rule.required, rule.absolutePath],
    isRequired: true,
    isPath: true,
    changes: 'reload',
    about: 'PEM chain, leaf first.',
  },
  'auth.cert.pkcs11.modulePath': {
    kind: 'string',
    only: 'cert',
    rules: [rule.required, rule.absolutePath],
    isRequired: true,
    isPath: true,
    changes: 'reload',
    about: 'PKCS#11 module.',
  },
  'auth.cert.pkcs11.tokenLabel': {
    kind: 'string',
    only: 'cert',
    rules: [rule.required, ...rule.identifier],
    isRequired: true,
    changes: 'reload',
    about: 'Label of the token.',
  },
  'auth.cert.pkcs11.keyLabel': {
    kind: 'string',
    only: 'cert',
    rules: [rule.required, ...rule.identifier],
    isRequired: true,
    changes: 'reload',
    about: 'Label of the key pair.',
  },
  'auth.cert.pkcs11.pinFile': {
    kind: 'string',
    only: 'cert',
    rules: [rule.required, rule.absolutePath],
    isRequired: true,
    isPath: true, // control: withheld.pin-file
    changes: 'reload',
    about: 'File with the PIN.',
  },
  'auth.cert.pkcs11.maxSessions': {
    kind: 'integer',
    only: 'cert',
    rules: [rule.atLeast(2, 'must be at least 2')],
    isRequired: true,
    changes: 'reload',
    about: 'Sessions of the token; one is held for its login.',
  },
  'transit.mountPath': {
    kind: 'string',
    rules: [rule.required, ...address.mountPath],
    isRequired: true,
    changes: 'identity',
    about: 'Path of the Transit mount.',
  },
  'transit.keyName': {
    kind: 'string',
    rules: [rule.required, rule.pathName],
    isRequired: true,
    changes: 'identity',
    about: 'Name of the Transit key.',
  },
  'transit.batchDecrypt': {
    kind: 'string',
    byDefault: 'auto',
    rules: [rule.oneOf(['auto', 'off'], 'must be auto or off')],
    changes: 'reload',
    about:
      'Decrypts that wait leave together, up to 64 in one request, which is one entry of the audit log; off: one request each.',
  },
  'transit.keyIdScope.providerName': {
    kind: 'string',
    rules: [rule.required, ...rule.identifier],
    isRequired: true,
    changes: 'identity',
    about: 'Name of the provider in the EncryptionConfiguration.',
  },
  'transit.keyIdScope.clusterId': {
    kind: 'string',
    rules: [rule.required, ...rule.identifier],
    isRequired: true,
    changes: 'identity',
    about: 'Label of the cluster.',
  },
  'transit.keyIdScope.transitMountId': {
    kind: 'string',
    rules: [rule.required, ...rule.identifier],
    isRequired: true,
    changes: 'identity',
    about: 'Label of the Transit mount, not its path.',
  },
  'transit.keyIdScope.keyLineageId': {
    kind: 'string',
    rules: [rule.required, ...rule.identifier],
    isRequired: true,
    changes: 'identity',
    about: 'Made once per Transit key: 16 random bytes, lower-case hex.',
  },
  'bootstrap.graceTimeout': {
    kind: 'duration',
    byDefault: '60s',
    rules: [rule.nonNegative],
    changes: 'reload',
    about: 'How long the first probes are repeated quickly.',
  },
  'bootstrap.retryInterval': {
    kind: 'duration',
    byDefault: '5s',
    rules: [rule.positive],
    changes: 'reload',
    about: 'Pause between the first probes.',
  },
  'status.probeInterval': {
    kind: 'duration',
    byDefault: '30s',
    rules: [rule.positive, rule.durationBetween(1_000, hour, 'must be between 1s and 1h')],
    changes: 'reload',
    about: 'Pause between metadata probes, and between reads caused by unknown key ids.',
  },
  'status.deepProbeInterval': {
    kind: 'duration',
    byDefault: '5m',
    rules: [rule.positive],
    changes: 'reload',
    about: 'Pause between encrypt-decrypt probes.',
  },
  'status.statusMaxStaleness': {
    kind: 'duration',
    byDefault: '2m',
    rules: [rule.positive],
    changes: 'reload',
    about: 'Status turns unhealthy when the last good metadata probe is older.',
  },
  'state.path': {
    kind: 'string',
    byDefault: '/var/lib/openbao-kms/state/key-registry.json',
    rules: [rule.required, rule.absolutePath],
    isPath: true,
    changes: 'restart',
    about: 'Registry state; checkpoint and lock stand beside it.',
  },
  'state.requireCheckpoint': {
    kind: 'boolean',
    byDefault: false,
    changes: 'reload',
    about: 'Refuse a state of a later generation that lost its checkpoint.',
  },
  'rotation.mode': {
    kind: 'string',
    byDefault: 'observed',
    rules: [rule.oneOf(['observed'], 'only observed is supported')],
    changes: 'reload',
    about: 'The provider never rotates a key.',
  },
  'rotation.activationDelay': {
    kind: 'duration',
    byDefault: '2m',
    rules: [rule.positive, rule.durationBetween(0, 24 * hour, 'must not exceed 24h')],
    changes: 'reload',
    about: 'Wait between stable and active.',
  },
  'rotation.requireStableObservationCount': {
    kind: 'integer',
    byDefault: 3,
    rules: [rule.atLeast(1, 'must be positive')],
    changes: 'reload',
    about: 'Probes that must see the same newest version.',
  },
  'rotation.rejectVersionRollback': {
    kind: 'boolean',
    byDefault: true,
    changes: 'reload',
    about: 'Reason code only: a version that went back fails in any case.',
  },
  'logging.level': {
    kind: 'string',
    byDefault: 'info',
    rules: [rule.oneOf(['debug', 'info', 'warn', 'error'])],
    changes: 'reload',
    override: {
      flag: 'log-level',
      variables: ['BAO_KMS_PROVIDER_LOG_LEVEL', 'BAO_KMS_PROVIDER_LOGGING_LEVEL'],
    },
    about: 'Least level written.',
  },
  'logging.format': {
    kind: 'string',
    byDefault: 'json',
    rules: [rule.oneOf(['json', 'text'])],
    changes: 'reload',
    about: 'One JSON object a line, or text for people.',
  },
  'logging.logOpenBaoRequestIDs': {
    kind: 'boolean',
    byDefault: true,
    changes: 'reload',
    about: 'Allows request ids in the log during debug correlation.',
  },
  'logging.debugCorrelation.enabled': {
    kind: 'boolean',
    byDefault: false,
    changes: 'reload',
    about: 'Log what joins our log with the audit log of OpenBao.',
  },
  'logging.debugCorrelation.ttl': {
    kind: 'duration',
    byDefault: '15m',
    rules: [],
    changes: 'reload',
    about: 'Correlation ends by itself after this long.',
  },
  'logging.debugCorrelation.incidentId': {
    kind: 'string',
    byDefault: '',
    rules: [
      ...rule.identifier,
      {
        code: 'too_long',
        message: 'must have at most 64 characters',
        holds: (value) => [...value].length <= 64,
        schema: { maxLength: 64 },
      },
    ],
    changes: 'reload',
    about: 'Why correlation is on; stands in each line.',
  },
  'process.pluginUser': {
    kind: 'string',
    byDefault: '',
    rules: [
      {
        code: 'user',
        message: 'must name another, unprivileged user',
        holds: (value) => value === '' || isUserOrUid(value),
      },
    ],
    changes: 'restart', // control: reload.plugin-user
    about: 'User of the plugin, a name or a UID in quotes; empty: the same user as the supervisor.',
  },
  'process.pluginGroup': {
    kind: 'string',
    byDefault: '',
    rules: [
      {
        code: 'group',
        message: 'must not be a group of the supervisor',
        holds: (value) => value === '' || isUserOrUid(value),
      },
    ],
    changes: 'restart',
    about: 'Group of the plugin; empty: the primary group of its user.',
  },
} as const satisfies Table;

type Rows = typeof table;
/** Dotted path of a field in the document. */
export type FieldPath = keyof Rows;
export type Field = Row & { readonly path: FieldPath };

/** The kind of value that the row of a path declares. */
export type KindOf<Path extends FieldPath> = Rows[Path]['kind'];
/** The paths whose rows have this. */
export type PathOf<Having> = { [Path in FieldPath]: Rows[Path] extends Having ? Path : never }[FieldPath];
export type OverrideFlag = Extract<Rows[FieldPath], { readonly override: Override }>['override']['flag'];

export const fields: readonly Field[] = Object.entries<Row>(table).map(([path, row]) => ({
  ...row,
  path: path as FieldPath,
}));

function isUserOrUid(value: string): boolean {
  if (/^[0-9]+$/u.test(value)) return Number(value) >= 1 && Number(value) <= 2_147_483_647;
  return /^[a-z_][a-z0-9_-]*\$?$/u.test(value) && value !== 'root';
}
