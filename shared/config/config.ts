// The configuration as the program uses it: typed, complete, frozen. Both processes build it with this code, the
// supervisor from the file, the plugin from what it was sent.

import type { CredentialName } from '../channel/messages.ts';
import type { BoundIdentity } from '../registry/fingerprint.ts';
import { checkRelations, configWarnings } from './cross-checks.ts';
import { checkField, decodeDocument, type Values } from './decode.ts';
import { type Field, type FieldPath, fields, type KindOf, type PathOf } from './fields.ts';
import { type LoginMethodName, loginMethodNames } from './login-methods.ts';
import { ConfigInvalid, type Problem, problem } from './problem.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** What a field of each kind is in the program. */
type OfKind = {
  readonly string: string;
  readonly integer: number;
  readonly boolean: boolean;
  readonly duration: number;
  readonly strings: readonly string[];
};

/** The name of a field within its section, with the unit where it is a duration; none for a field of another section. */
type MemberName<Section extends string, Path extends FieldPath> = Path extends `${Section}.${infer Name}`
  ? Name extends `${string}.${string}`
    ? never
    : KindOf<Path> extends 'duration'
      ? `${Name}Ms`
      : Name
  : never;

/** The fields of a section, as their rows say: a new row is a new member. */
type Section<Name extends string> = { readonly [Path in FieldPath as MemberName<Name, Path>]: OfKind[KindOf<Path>] };

export type Config = {
  readonly server: Omit<Section<'server'>, 'socketMode'> & { readonly socketMode: number };
  /** The address is the effective one: it ends with the path prefix. */
  readonly openbao: Section<'openbao'>;
  /** The timeout of a login is the effective one: its default is already worked out. */
  readonly auth: Omit<Section<'auth'>, 'method'> & {
    readonly method: LoginMethodName;
    readonly jwt: Section<'auth.jwt'>;
  };
  /** Files whose bytes the supervisor holds in custody; empty: not named by this configuration. */
  readonly credentialPaths: Readonly<Record<CredentialName, string>>;
  readonly identity: BoundIdentity;
  /** What of it belongs to the identity stands there. */
  readonly transit: Pick<Section<'transit'>, 'batchDecrypt'>;
  readonly bootstrap: Section<'bootstrap'>;
  readonly status: Section<'status'>;
  readonly state: Section<'state'>;
  readonly rotation: Section<'rotation'>;
  readonly logging: Section<'logging'> & {
    readonly level: LogLevel;
    readonly format: 'json' | 'text';
    /** Absent unless it is enabled. */
    readonly correlation: Omit<Section<'logging.debugCorrelation'>, 'enabled'> | undefined;
  };
  readonly process: Section<'process'>;
  /** Every field by its path, as it was read; what stands above is made from these. */
  readonly values: Values;
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

type IdentityPath = PathOf<{ readonly changes: 'identity' }>;

/** What each field of the identity is called there, in the order in which a reload names them. */
const identityMembers = {
  'transit.keyIdScope.providerName': 'providerName',
  'transit.keyIdScope.clusterId': 'clusterId',
  'transit.keyIdScope.transitMountId': 'transitMountId',
  'transit.keyIdScope.keyLineageId': 'transitKeyLineageId',
  'openbao.instanceId': 'openbaoInstanceId',
  'openbao.namespace': 'openbaoNamespace',
  'transit.mountPath': 'transitMountPath',
  'transit.keyName': 'transitKeyName',
} as const satisfies Record<IdentityPath, keyof BoundIdentity>;

export const identityPaths = Object.keys(identityMembers) as readonly IdentityPath[];

/** The identity values as far as they are there; empty ones stay empty. */
export function identityOf(values: Values): BoundIdentity {
  // With a member less in the list above, this is no BoundIdentity for the compiler.
  const identity = {} as Record<(typeof identityMembers)[IdentityPath], string>;
  for (const path of identityPaths) identity[identityMembers[path]] = String(values.get(path) ?? '');
  return identity;
}

const minLoginTimeoutMs = 5_000;

function toConfig(values: Values): Config {
  const text = (path: PathOf<{ readonly kind: 'string' }>) => String(values.get(path) ?? '');
  const section = <Name extends string>(name: Name) => sectionOf(name, values);
  const openbao = section('openbao');
  const auth = section('auth');
  const { enabled: isCorrelated, ...correlation } = section('logging.debugCorrelation');
  return deepFreeze<Config>({
    server: { ...section('server'), socketMode: Number.parseInt(text('server.socketMode'), 8) },
    openbao: { ...openbao, address: `${openbao.address.replace(/\/$/u, '')}${openbao.pathPrefix}` },
    auth: {
      ...auth,
      method: loginMethod(auth.method),
      loginTimeoutMs: auth.loginTimeoutMs || Math.max(openbao.timeoutMs, minLoginTimeoutMs),
      jwt: section('auth.jwt'),
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
    transit: { batchDecrypt: text('transit.batchDecrypt') },
    bootstrap: section('bootstrap'),
    status: section('status'),
    state: section('state'),
    rotation: section('rotation'),
    logging: {
      ...section('logging'),
      level: logLevel(text('logging.level')),
      format: text('logging.format') === 'text' ? 'text' : 'json',
      correlation: isCorrelated ? correlation : undefined,
    },
    process: section('process'),
    values,
  });
}

/** What a field without a value is: one that need not be written, or of a section that does not apply. */
const emptyOf: OfKind = { string: '', integer: 0, boolean: false, duration: 0, strings: [] };

/** The members that the type of a section has, made from the same rows. */
function sectionOf<Name extends string>(section: Name, values: Values): Section<Name> {
  const members = fields.flatMap(({ path, kind }) => {
    const name = path.startsWith(`${section}.`) ? path.slice(section.length + 1) : '';
    if (name === '' || name.includes('.')) return [];
    return [[kind === 'duration' ? `${name}Ms` : name, values.get(path) ?? emptyOf[kind]]];
  });
  return Object.fromEntries(members) as Section<Name>;
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
