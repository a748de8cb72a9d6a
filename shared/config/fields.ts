// Every field of the configuration, once: type, default, rules, and what it is for. The decoder, the JSON Schema and
// the test of docs/configuration.md all read this table.

import * as address from './address-rules.ts';
import { type LoginMethodName, loginMethodNames } from './login-methods.ts';
import type { Rule } from './rules.ts';
import * as rule from './rules.ts';

type Common = {
  /** Dotted path in the document. */
  readonly path: string;
  readonly about: string;
  /** Goes into the identity of the encrypted data: never changes. */
  readonly isIdentity?: true;
  /** Applies only when this section is chosen. */
  readonly only?: LoginMethodName | 'oauth2' | 'cert';
};

export type Field =
  | (Common & { readonly kind: 'string'; readonly byDefault?: string; readonly rules: readonly Rule<string>[] })
  | (Common & { readonly kind: 'integer'; readonly byDefault?: number; readonly rules: readonly Rule<number>[] })
  | (Common & { readonly kind: 'boolean'; readonly byDefault: boolean })
  | (Common & { readonly kind: 'duration'; readonly byDefault: string; readonly rules: readonly Rule<number>[] })
  | (Common & { readonly kind: 'strings'; readonly rules: readonly Rule<string>[] });

const concurrency = [rule.between(1, 1024)];
const minute = 60_000;
const hour = 60 * minute;
/** The last is known and refused, with a sentence of its own. */
const authMethods = [...new Set<string>([...loginMethodNames, 'cert'])];

export const fields: readonly Field[] = [
  {
    path: 'configVersion',
    kind: 'string',
    rules: [rule.required, rule.oneOf(['v1alpha1'], 'must be v1alpha1')],
    about: 'Version of this format; must be written.',
  },
  {
    path: 'server.socketPath',
    kind: 'string',
    byDefault: '/run/openbao-kms/kms.sock',
    rules: [rule.required, ...rule.socketPath],
    about: 'KMS socket; below /run/openbao-kms or /var/run/openbao-kms.',
  },
  {
    path: 'server.socketMode',
    kind: 'string',
    byDefault: '0660',
    rules: [rule.required, ...rule.socketMode],
    about: 'Mode of the socket, octal, quoted.',
  },
  {
    path: 'server.socketGroup',
    kind: 'string',
    rules: [rule.required, rule.groupName],
    about: 'Group that may connect: a name, or a GID in quotes.',
  },
  {
    path: 'server.metricsAddress',
    kind: 'string',
    byDefault: '127.0.0.1:8081',
    rules: [rule.listener],
    about: 'Prometheus endpoint, host:port; empty switches it off.',
  },
  {
    path: 'server.healthAddress',
    kind: 'string',
    byDefault: '127.0.0.1:8082',
    rules: [rule.listener],
    about: '/live and /ready, host:port; empty switches it off.',
  },
  {
    path: 'server.maxConcurrentStatus',
    kind: 'integer',
    byDefault: 16,
    rules: concurrency,
    about: 'Status calls at a time; one more is refused.',
  },
  {
    path: 'server.maxConcurrentEncrypt',
    kind: 'integer',
    byDefault: 32,
    rules: concurrency,
    about: 'Encrypt calls at a time; one more is refused.',
  },
  {
    path: 'server.maxConcurrentDecrypt',
    kind: 'integer',
    byDefault: 64,
    rules: concurrency,
    about: 'Distinct Decrypts at OpenBao at a time; more of them wait.',
  },
  {
    path: 'openbao.address',
    kind: 'string',
    rules: [rule.required, ...address.baoAddress],
    about: 'https URL of OpenBao, without a path.',
  },
  {
    path: 'openbao.pathPrefix',
    kind: 'string',
    byDefault: '',
    rules: address.pathPrefix,
    about: 'Prefix of every request path, for a proxy that serves OpenBao below a path.',
  },
  {
    path: 'openbao.caCertFile',
    kind: 'string',
    rules: [rule.required, rule.absolutePath],
    about: 'PEM bundle, the only certificates trusted for OpenBao.',
  },
  {
    path: 'openbao.tlsServerName',
    kind: 'string',
    rules: [rule.required, address.tlsServerName],
    about: 'DNS name or IP address that the server certificate must carry.',
  },
  {
    path: 'openbao.instanceId',
    kind: 'string',
    isIdentity: true,
    rules: [rule.required, ...rule.identifier],
    about: 'Label of this OpenBao installation.',
  },
  {
    path: 'openbao.namespace',
    kind: 'string',
    byDefault: '',
    isIdentity: true,
    rules: address.namespacePath,
    about: 'OpenBao namespace; empty for the root.',
  },
  {
    path: 'openbao.timeout',
    kind: 'duration',
    byDefault: '2s',
    rules: [rule.positive, rule.durationBetween(100, 30_000, 'must be between 100ms and 30s')],
    about: 'Bounds one request to OpenBao and one KMS call.',
  },
  {
    path: 'auth.method',
    kind: 'string',
    byDefault: 'jwt',
    rules: [rule.required, rule.oneOf(authMethods, `must be one of ${authMethods.join(' or ')}`)],
    about: 'Login method. `cert` is not available in this version.',
  },
  {
    path: 'auth.loginBeforeTokenExpiry',
    kind: 'duration',
    byDefault: '5m',
    rules: [rule.positive],
    about: 'How long before its end a token is renewed.',
  },
  {
    path: 'auth.tokenRenewalIncrement',
    kind: 'duration',
    byDefault: '1h',
    rules: [rule.positive],
    about: 'Lifetime asked for at a renewal.',
  },
  {
    path: 'auth.loginTimeout',
    kind: 'duration',
    byDefault: '0s',
    rules: [rule.nonNegative],
    about: 'Bounds one login or renewal; 0s means the greater of openbao.timeout and 5s.',
  },
  {
    path: 'auth.jwt.source',
    kind: 'string',
    only: 'jwt',
    rules: [rule.required, rule.oneOf(['file', 'oauth2'], 'must be file or oauth2')],
    about: 'Where the JWT comes from. `oauth2` is not available in this version.',
  },
  {
    path: 'auth.jwt.mountPath',
    kind: 'string',
    only: 'jwt',
    rules: [rule.required, ...address.loginMountPath],
    about: 'Path of the JWT mount, with auth/ and without /login.',
  },
  {
    path: 'auth.jwt.role',
    kind: 'string',
    only: 'jwt',
    rules: [rule.required, rule.pathName],
    about: 'Role to log in to.',
  },
  {
    path: 'auth.jwt.jwtFile',
    kind: 'string',
    byDefault: '',
    only: 'jwt',
    rules: [rule.absolutePath],
    about: 'File with the JWT, for source file.',
  },
  {
    path: 'auth.jwt.minRemainingTtl',
    kind: 'duration',
    byDefault: '2m',
    only: 'jwt',
    rules: [rule.positive],
    about: 'A JWT with less life left is not used.',
  },
  {
    path: 'auth.jwt.clockSkewLeeway',
    kind: 'duration',
    byDefault: '30s',
    only: 'jwt',
    rules: [rule.nonNegative, rule.durationBetween(0, 5 * minute, 'must not exceed 5m')],
    about: 'Tolerance for clocks in nbf, iat and exp.',
  },
  {
    path: 'auth.jwt.expectedIssuer',
    kind: 'string',
    byDefault: '',
    only: 'jwt',
    rules: rule.identifier,
    about: 'Claim iss must equal it.',
  },
  {
    path: 'auth.jwt.expectedAudience',
    kind: 'strings',
    only: 'jwt',
    rules: rule.identifier,
    about: 'Claim aud must contain one of them.',
  },
  {
    path: 'auth.jwt.expectedSubject',
    kind: 'string',
    byDefault: '',
    only: 'jwt',
    rules: rule.identifier,
    about: 'Claim sub must equal it.',
  },
  {
    path: 'auth.jwt.oauth2.tokenUrl',
    kind: 'string',
    only: 'oauth2',
    rules: [rule.required, rule.tokenUrl],
    about: 'Token endpoint.',
  },
  {
    path: 'auth.jwt.oauth2.clientId',
    kind: 'string',
    only: 'oauth2',
    rules: [rule.required, rule.noControl],
    about: 'Client identifier.',
  },
  {
    path: 'auth.jwt.oauth2.clientSecretFile',
    kind: 'string',
    only: 'oauth2',
    rules: [rule.required, rule.absolutePath],
    about: 'File with the client secret.',
  },
  {
    path: 'auth.jwt.oauth2.authMethod',
    kind: 'string',
    only: 'oauth2',
    rules: [rule.required, rule.oneOf(['client_secret_basic', 'client_secret_post'])],
    about: 'How the client authenticates.',
  },
  {
    path: 'auth.jwt.oauth2.scopes',
    kind: 'strings',
    only: 'oauth2',
    rules: [rule.scope],
    about: 'Scopes asked for.',
  },
  {
    path: 'auth.jwt.oauth2.audience',
    kind: 'string',
    byDefault: '',
    only: 'oauth2',
    rules: [rule.noControl],
    about: 'Audience asked for.',
  },
  {
    path: 'auth.jwt.oauth2.resources',
    kind: 'strings',
    only: 'oauth2',
    rules: [rule.resource],
    about: 'Resource indicators asked for.',
  },
  {
    path: 'auth.jwt.oauth2.caCertFile',
    kind: 'string',
    byDefault: '',
    only: 'oauth2',
    rules: [rule.absolutePath],
    about: 'PEM bundle for the token endpoint; empty: system roots.',
  },
  {
    path: 'auth.cert.mountPath',
    kind: 'string',
    only: 'cert',
    rules: [rule.required, ...address.loginMountPath],
    about: 'Path of the certificate mount, with auth/ and without /login.',
  },
  {
    path: 'auth.cert.name',
    kind: 'string',
    byDefault: '',
    only: 'cert',
    rules: rule.identifier,
    about: 'Certificate role; empty: OpenBao tries all.',
  },
  {
    path: 'auth.cert.minRemainingTtl',
    kind: 'duration',
    byDefault: '24h',
    only: 'cert',
    rules: [rule.positive],
    about: 'A certificate with less life left is not used.',
  },
  {
    path: 'auth.cert.clockSkewLeeway',
    kind: 'duration',
    byDefault: '30s',
    only: 'cert',
    rules: [rule.nonNegative, rule.durationBetween(0, 5 * minute, 'must not exceed 5m')],
    about: 'Tolerance for clocks in the validity of the chain.',
  },
  {
    path: 'auth.cert.source',
    kind: 'string',
    only: 'cert',
    rules: [rule.required, rule.oneOf(['pkcs11'], 'must be pkcs11')],
    about: 'Where the private key is.',
  },
  {
    path: 'auth.cert.pkcs11.certificateFile',
    kind: 'string',
    only: 'cert',
    rules: [rule.required, rule.absolutePath],
    about: 'PEM chain, leaf first.',
  },
  {
    path: 'auth.cert.pkcs11.modulePath',
    kind: 'string',
    only: 'cert',
    rules: [rule.required, rule.absolutePath],
    about: 'PKCS#11 module.',
  },
  {
    path: 'auth.cert.pkcs11.tokenLabel',
    kind: 'string',
    only: 'cert',
    rules: [rule.required, ...rule.identifier],
    about: 'Label of the token.',
  },
  {
    path: 'auth.cert.pkcs11.keyLabel',
    kind: 'string',
    only: 'cert',
    rules: [rule.required, ...rule.identifier],
    about: 'Label of the key pair.',
  },
  {
    path: 'auth.cert.pkcs11.pinFile',
    kind: 'string',
    only: 'cert',
    rules: [rule.required, rule.absolutePath],
    about: 'File with the PIN.',
  },
  {
    path: 'auth.cert.pkcs11.maxSessions',
    kind: 'integer',
    only: 'cert',
    rules: [rule.atLeast(2, 'must be at least 2')],
    about: 'Sessions of the token; one is held for its login.',
  },
  {
    path: 'transit.mountPath',
    kind: 'string',
    isIdentity: true,
    rules: [rule.required, ...address.mountPath],
    about: 'Path of the Transit mount.',
  },
  {
    path: 'transit.keyName',
    kind: 'string',
    isIdentity: true,
    rules: [rule.required, rule.pathName],
    about: 'Name of the Transit key.',
  },
  {
    path: 'transit.keyIdScope.providerName',
    kind: 'string',
    isIdentity: true,
    rules: [rule.required, ...rule.identifier],
    about: 'Name of the provider in the EncryptionConfiguration.',
  },
  {
    path: 'transit.keyIdScope.clusterId',
    kind: 'string',
    isIdentity: true,
    rules: [rule.required, ...rule.identifier],
    about: 'Label of the cluster.',
  },
  {
    path: 'transit.keyIdScope.transitMountId',
    kind: 'string',
    isIdentity: true,
    rules: [rule.required, ...rule.identifier],
    about: 'Label of the Transit mount, not its path.',
  },
  {
    path: 'transit.keyIdScope.keyLineageId',
    kind: 'string',
    isIdentity: true,
    rules: [rule.required, ...rule.identifier],
    about: 'Made once per Transit key: 16 random bytes, lower-case hex.',
  },
  {
    path: 'bootstrap.graceTimeout',
    kind: 'duration',
    byDefault: '60s',
    rules: [rule.nonNegative],
    about: 'How long the first probes are repeated quickly.',
  },
  {
    path: 'bootstrap.retryInterval',
    kind: 'duration',
    byDefault: '5s',
    rules: [rule.positive],
    about: 'Pause between the first probes.',
  },
  {
    path: 'status.probeInterval',
    kind: 'duration',
    byDefault: '30s',
    rules: [rule.positive, rule.durationBetween(1_000, hour, 'must be between 1s and 1h')],
    about: 'Pause between metadata probes, and between reads caused by unknown key ids.',
  },
  {
    path: 'status.deepProbeInterval',
    kind: 'duration',
    byDefault: '5m',
    rules: [rule.positive],
    about: 'Pause between encrypt-decrypt probes.',
  },
  {
    path: 'status.statusMaxStaleness',
    kind: 'duration',
    byDefault: '2m',
    rules: [rule.positive],
    about: 'Status turns unhealthy when the last good metadata probe is older.',
  },
  {
    path: 'state.path',
    kind: 'string',
    byDefault: '/var/lib/openbao-kms/state/key-registry.json',
    rules: [rule.required, rule.absolutePath],
    about: 'Registry state; checkpoint and lock stand beside it.',
  },
  {
    path: 'state.requireCheckpoint',
    kind: 'boolean',
    byDefault: false,
    about: 'Refuse a state of a later generation that lost its checkpoint.',
  },
  {
    path: 'rotation.mode',
    kind: 'string',
    byDefault: 'observed',
    rules: [rule.oneOf(['observed'], 'only observed is supported')],
    about: 'The provider never rotates a key.',
  },
  {
    path: 'rotation.activationDelay',
    kind: 'duration',
    byDefault: '2m',
    rules: [rule.positive, rule.durationBetween(0, 24 * hour, 'must not exceed 24h')],
    about: 'Wait between stable and active.',
  },
  {
    path: 'rotation.requireStableObservationCount',
    kind: 'integer',
    byDefault: 3,
    rules: [rule.atLeast(1, 'must be positive')],
    about: 'Probes that must see the same newest version.',
  },
  {
    path: 'rotation.rejectVersionRollback',
    kind: 'boolean',
    byDefault: true,
    about: 'Reason code only: a version that went back fails in any case.',
  },
  {
    path: 'logging.level',
    kind: 'string',
    byDefault: 'info',
    rules: [rule.oneOf(['debug', 'info', 'warn', 'error'])],
    about: 'Least level written.',
  },
  {
    path: 'logging.format',
    kind: 'string',
    byDefault: 'json',
    rules: [rule.oneOf(['json', 'text'])],
    about: 'One JSON object a line, or text for people.',
  },
  {
    path: 'logging.logOpenBaoRequestIDs',
    kind: 'boolean',
    byDefault: true,
    about: 'Allows request ids in the log during debug correlation.',
  },
  {
    path: 'logging.debugCorrelation.enabled',
    kind: 'boolean',
    byDefault: false,
    about: 'Log what joins our log with the audit log of OpenBao.',
  },
  {
    path: 'logging.debugCorrelation.ttl',
    kind: 'duration',
    byDefault: '15m',
    rules: [],
    about: 'Correlation ends by itself after this long.',
  },
  {
    path: 'logging.debugCorrelation.incidentId',
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
    about: 'Why correlation is on; stands in each line.',
  },
  {
    path: 'process.pluginUser',
    kind: 'string',
    byDefault: '',
    rules: [
      {
        code: 'user',
        message: 'must name another, unprivileged user',
        holds: (value) => value === '' || isUserOrUid(value),
      },
    ],
    about: 'User of the plugin, a name or a UID in quotes; empty: the same user as the supervisor.',
  },
  {
    path: 'process.pluginGroup',
    kind: 'string',
    byDefault: '',
    rules: [
      {
        code: 'group',
        message: 'must not be a group of the supervisor',
        holds: (value) => value === '' || isUserOrUid(value),
      },
    ],
    about: 'Group of the plugin; empty: the primary group of its user.',
  },
];

function isUserOrUid(value: string): boolean {
  if (/^[0-9]+$/u.test(value)) return Number(value) >= 1 && Number(value) <= 2_147_483_647;
  return /^[a-z_][a-z0-9_-]*\$?$/u.test(value) && value !== 'root';
}
