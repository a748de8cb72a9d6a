// The complete list of what the two processes can say to each other. One schema is type and check at once; what it does
// not name does not pass. Who may say what, and when, is decided by the supervisor (supervisor/channel).

import { ProviderError } from '../errors/error.ts';
import { reasons, warningCodes } from '../errors/words.ts';
import { checkStructure } from '../text/json-structure.ts';
import { className, count, detail, finding, hashText, wordOf } from './members.ts';
import { check, type Static, Type } from './shape.ts';
import { reports, taskNames } from './tasks.ts';

const shortText = Type.String({ maxLength: 256 });
const stateText = Type.String({ maxLength: 4 * 1024 * 1024 });
const object = Type.Object;

/** Credentials that can be in custody of the supervisor (spec/login 4.1); which of them are is in shared/config/login-methods.ts. */
export const credentialNames = ['jwt', 'client_secret', 'client_chain', 'pin', 'openbao_ca', 'issuer_ca'] as const;
const credentialName = Type.Enum([...credentialNames]);

/** Directories in custody that can lose their name. */
export const directoryNames = ['runtime', 'credentials', 'state'] as const;

/** The ports of /metrics and of /live and /ready. */
export const portNames = ['metrics', 'health'] as const;

/** What the supervisor counts and the plugin exports. */
const counters = object({
  restarts: Type.Record(Type.String({ maxLength: 32 }), count),
  gateRefusals: Type.Record(Type.String({ maxLength: 32 }), count),
  credentialRefusals: Type.Record(Type.String({ maxLength: 64 }), count),
  staleSockets: count,
  checkpointsRecreated: count,
  socketLost: Type.Boolean(),
  /** Whose path no longer leads to them. */
  directoriesGone: Type.Array(Type.Enum([...directoryNames]), { maxItems: directoryNames.length }),
  /** Configured and not open, because somebody else has them. */
  portsTaken: Type.Array(Type.Enum([...portNames]), { maxItems: portNames.length }),
  /** Credential files that cannot be read safely at present. */
  filesRefused: Type.Array(
    object({ name: credentialName, reason: Type.String({ maxLength: 64 }), sinceUnixMs: count }),
    {
      maxItems: credentialNames.length,
    },
  ),
  supervisorStartedAtUnixMs: count,
});

const start = object({
  kind: Type.Literal('start'),
  task: Type.Enum([...taskNames]),
  build: object({ version: shortText, commit: shortText, buildDate: shortText, dirty: shortText }),
  /** The configuration document, without any path of this host. */
  config: Type.Unknown(),
  overrides: Type.Record(shortText, shortText),
  /** Addresses to expect on descriptors 5 and 6; absent means that the listener is off. */
  metrics: Type.Optional(object({ host: shortText, port: count })),
  health: Type.Optional(object({ host: shortText, port: count })),
  /** How many `credential` messages follow at once, before anything is opened. */
  credentialCount: count,
  listen: Type.Enum(['now', 'when_healthy']),
  state: Type.Optional(stateText),
  identityFingerprint: shortText,
  stable: Type.Optional(object({ keyId: shortText, elapsedMs: Type.Number({ minimum: 0 }) })),
  counters,
});

const credential = object({
  kind: Type.Literal('credential'),
  name: credentialName,
  generation: count,
  modifiedAtUnixMs: count,
  /** Base64; absent when the file is, then `absence` says why. */
  bytes: Type.Optional(Type.String({ maxLength: 2 * 1024 * 1024 })),
  absence: Type.Optional(shortText),
});

/** What lies on disk after a save that was tried. */
export const onDiskStates = ['predecessor', 'attempted', 'other', 'unreadable'] as const;

const committed = object({
  kind: Type.Literal('committed'),
  commitId: count,
  outcome: Type.Enum(['saved', 'refused', 'failed']),
  onDisk: Type.Enum([...onDiskStates]),
  /** Why it failed, where that is known. */
  finding: Type.Optional(shortText),
});

const drain = object({
  kind: Type.Literal('drain'),
  reason: Type.Enum(['stop', 'replace']),
  deadlineMs: count,
});

const supervisorMessage = Type.Union([
  start,
  credential,
  committed,
  object({ kind: Type.Literal('counters'), counters }),
  object({ kind: Type.Literal('ping'), id: count }),
  drain,
]);

const ids = Type.Array(count, { maxItems: 64 });
const capabilitySet = Type.String({ pattern: '^[0-9a-f]{1,32}$' });

/** What the plugin found itself to be, from /proc/self/status. */
const confinement = object({
  uids: ids,
  gids: ids,
  groups: ids,
  inheritable: capabilitySet,
  permitted: capabilitySet,
  effective: capabilitySet,
  bounding: capabilitySet,
  ambient: capabilitySet,
  noNewPrivs: count,
  seccomp: count,
});

const health = object({
  kind: Type.Literal('health'),
  healthz: Type.Enum(['ok', 'unhealthy']),
  reasons: Type.Array(wordOf(reasons), { maxItems: 16 }),
  errorClasses: Type.Array(className, { maxItems: 4 }),
  /** What is wrong, and since when; absent while nothing is. */
  cause: Type.Optional(
    object({
      class: className,
      detail: Type.Optional(detail),
      finding: Type.Optional(finding),
      httpStatus: Type.Optional(count),
      sinceUnixMs: count,
    }),
  ),
  /** What will become a fault when nobody acts. */
  warnings: Type.Optional(
    Type.Array(
      object({
        warning: wordOf(warningCodes),
        name: Type.Optional(wordOf(credentialNames)),
        class: Type.Optional(className),
        detail: Type.Optional(detail),
      }),
      { maxItems: 16 },
    ),
  ),
  /** The credential in use ends within its refresh window: a new one is needed soon. */
  isCredentialEnding: Type.Optional(Type.Boolean()),
  /** When each method was last called; absent: never by this plugin. */
  lastCalls: Type.Optional(
    object({
      statusUnixMs: Type.Optional(count),
      encryptUnixMs: Type.Optional(count),
      decryptUnixMs: Type.Optional(count),
    }),
  ),
  keyIdHash: Type.Optional(hashText),
  transitKeyVersion: Type.Optional(count),
  rotationState: Type.Enum(['active', 'pending', 'unknown']),
});

/** What a task found; which members it has depends on the task. */
const report = Type.Union(Object.values(reports));

const pluginMessage = Type.Union([
  object({
    kind: Type.Literal('ready'),
    confinement,
    isPermissionModelOn: Type.Boolean(),
    /** Ports that it was given and could not open. */
    portsUnopened: Type.Optional(Type.Array(Type.Enum([...portNames]), { maxItems: portNames.length })),
  }),
  health,
  object({ kind: Type.Literal('propose'), commitId: count, state: stateText }),
  object({
    kind: Type.Literal('credential_result'),
    name: credentialName,
    generation: count,
    /** `refused` by us or by OpenBao, `unproven`: nothing answered. Both are tried again. */
    result: Type.Enum(['in_use', 'refused', 'unproven']),
    class: Type.Optional(className),
    detail: Type.Optional(detail),
    /** Until the next trial. */
    nextTryMs: Type.Optional(count),
  }),
  object({ kind: Type.Literal('pong'), id: count, lagMs: Type.Number({ minimum: 0 }) }),
  object({ kind: Type.Literal('drained'), cut: count }),
  report,
  object({
    kind: Type.Literal('giving_up'),
    class: className,
    /** What is wrong with what it was given; a word of `caFindings`. */
    finding: Type.Optional(finding),
    canRelaunchHelp: Type.Boolean(),
  }),
]);

export type Counters = Static<typeof counters>;
export type StartMessage = Static<typeof start>;
export type CredentialMessage = Static<typeof credential>;
export type DirectoryName = (typeof directoryNames)[number];
export type PortName = (typeof portNames)[number];
export type CredentialName = (typeof credentialNames)[number];
export type Confinement = Static<typeof confinement>;
export type HealthMessage = Static<typeof health>;
export type SupervisorMessage = Static<typeof supervisorMessage>;
export type PluginMessage = Static<typeof pluginMessage>;

/**
 * Reads what the supervisor said.
 *
 * @throws ProviderError `message_invalid`
 */
export function parseSupervisorMessage(payload: Buffer): SupervisorMessage {
  const value = parsePayload(payload);
  if (!check(supervisorMessage, value)) throw invalid();
  return value;
}

/** A report with 256 versions, the largest; the state in a proposal is one string here. */
const maxMessage = { containers: 64, separators: 1_024 } as const;

/**
 * Reads what the plugin said.
 *
 * @throws ProviderError `message_invalid`: no JSON, more values than any message has, an unknown kind or member, a word of no list, or
 * a member out of its bounds
 */
export function parsePluginMessage(payload: Buffer): PluginMessage {
  checkStructure(payload, maxMessage); // control: messages.structure
  const value = parsePayload(payload);
  if (!check(pluginMessage, value)) throw invalid();
  return value;
}

export function encodeMessage(message: SupervisorMessage | PluginMessage): Buffer {
  return Buffer.from(JSON.stringify(message), 'utf8');
}

function parsePayload(payload: Buffer): unknown {
  try {
    return JSON.parse(payload.toString('utf8'));
  } catch {
    throw invalid();
  }
}

function invalid(): ProviderError {
  return new ProviderError('message_invalid', 'a message on the channel does not match its schema');
}
