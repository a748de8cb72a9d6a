// The registry state: which Transit versions this node has accepted. Pure: text ↔ validated value, and its hash.
// A state that leaves this file is valid in every rule of the format (spec/state 1.3); anything else is an error.

import { createHash } from 'node:crypto';
import { ProviderError } from '../errors/error.ts';
import { isHashText } from '../text/base64url.ts';
import { canonicalJson, indentedJson, type Json } from '../text/canonical-json.ts';
import { countStructure } from '../text/json-structure.ts';
import { parseStrictJson } from '../text/strict-json.ts';
import { isFingerprint } from './fingerprint.ts';
import { deriveKeyId, type Identity, type KeyVersion, maxTransitVersion } from './key-id.ts';

export type SnapshotState = 'active' | 'pending' | 'retired' | 'rejected' | 'removed';

/** One accepted Transit version. Times are Unix seconds, 0 = not set; `openbaoNamespace` is '' when there is none. */
export type Snapshot = Identity &
  KeyVersion & {
    readonly kubernetesKeyId: string;
    readonly state: SnapshotState;
    readonly observedAtUnix: number;
    readonly stableObservationCount: number;
    readonly stableAtUnix: number;
    readonly promotedAtUnix: number;
  };

/** What a state says before it has a hash. `previousHash` is '' in the first generation. */
export type StateContent = {
  readonly identityFingerprint: string;
  readonly generation: number;
  readonly previousHash: string;
  readonly activeKeyId: string;
  readonly snapshots: readonly Snapshot[];
};

export type RegistryState = StateContent & { readonly currentHash: string };

export const stateSchemaVersion = 'keyregistry.openbao-kms/v1alpha2';
export const aadMode = 'aad.required';
/** Largest state file that is read or sent, bytes. */
export const maxStateBytes = 4 * 1024 * 1024;
/** Braces and brackets of a state, counted before it is parsed: one for each of 4 096 records, and as many to spare. */
const maxContainers = 8_200;
/** Commas of a state: 4 096 records of 15 members, and the members of the state itself. */
const maxSeparators = 61_500;

const hashPrefix = 'krs1.';
const snapshotStates: readonly string[] = ['active', 'pending', 'retired', 'rejected', 'removed'];

export function isStateHash(text: string): boolean {
  return text.startsWith(hashPrefix) && isHashText(text.slice(hashPrefix.length));
}

/**
 * Gives content its hash.
 *
 * @throws ProviderError `state_corrupt` when a rule of the format is broken
 */
export function sealState(content: StateContent): RegistryState {
  const state = { ...content, currentHash: hashState(content) };
  checkState(state);
  return state;
}

/** `krs1.` and 43 characters over the compact JSON without `currentHash` (spec/state 1.4). */
export function hashState(content: StateContent): string {
  const body = canonicalJson(toMembers(content, undefined));
  return hashPrefix + createHash('sha256').update(body, 'utf8').digest('base64url');
}

/** The bytes of a state file: 2-space indentation and one final newline. */
export function encodeState(state: RegistryState): string {
  return indentedJson(toMembers(state, state.currentHash));
}

function toMembers(content: StateContent, currentHash: string | undefined): Json {
  return {
    schemaVersion: stateSchemaVersion,
    identityFingerprint: content.identityFingerprint,
    generation: content.generation,
    previousHash: content.previousHash === '' ? undefined : content.previousHash,
    currentHash,
    activeKeyId: content.activeKeyId,
    snapshots: content.snapshots.map(snapshotMembers),
  };
}

function snapshotMembers(snapshot: Snapshot): Json {
  return {
    providerName: snapshot.providerName,
    clusterId: snapshot.clusterId,
    openbaoInstanceId: snapshot.openbaoInstanceId,
    openbaoNamespace: snapshot.openbaoNamespace === '' ? undefined : snapshot.openbaoNamespace,
    transitMountId: snapshot.transitMountId,
    transitKeyLineageId: snapshot.transitKeyLineageId,
    transitVersion: snapshot.transitVersion,
    transitVersionCreatedAtUnix: snapshot.transitVersionCreatedAtUnix,
    kubernetesKeyId: snapshot.kubernetesKeyId,
    state: snapshot.state,
    aadMode,
    observedAtUnix: snapshot.observedAtUnix || undefined,
    stableObservationCount: snapshot.stableObservationCount || undefined,
    stableAtUnix: snapshot.stableAtUnix || undefined,
    promotedAtUnix: snapshot.promotedAtUnix || undefined,
  };
}

/**
 * Reads a state file.
 *
 * @param text  at most 4 MiB
 * @throws ProviderError `state_corrupt`: size, JSON, unknown member, schema, hash, or a rule between members
 */
export function parseState(text: string): RegistryState {
  if (Buffer.byteLength(text, 'utf8') > maxStateBytes) throw corrupt('is larger than 4 MiB');
  const { containers, separators } = countStructure(Buffer.from(text, 'utf8'));
  // control: state.structure
  if (containers > maxContainers || separators > maxSeparators) {
    throw corrupt('holds more values than a state of 4096 records');
  }
  const file = new Members(parseStrictJson(text), 'the state');
  const schema = file.text('schemaVersion');
  if (schema !== stateSchemaVersion) {
    throw corrupt('has another schema version; a fresh state bound to this identity is required');
  }
  const state: RegistryState = {
    identityFingerprint: file.text('identityFingerprint'),
    generation: file.integer('generation'),
    previousHash: file.optionalText('previousHash'),
    currentHash: file.text('currentHash'),
    activeKeyId: file.text('activeKeyId'),
    snapshots: file.list('snapshots').map(parseSnapshot),
  };
  file.end();
  checkState(state);
  return state;
}

function parseSnapshot(value: unknown): Snapshot {
  const record = new Members(value, 'a record');
  const mode = record.text('aadMode');
  const state = record.text('state');
  if (mode !== aadMode) throw corrupt('has a record with another AAD mode');
  if (!isSnapshotState(state)) throw corrupt('has a record in an unknown state');
  const snapshot: Snapshot = {
    providerName: record.text('providerName'),
    clusterId: record.text('clusterId'),
    openbaoInstanceId: record.text('openbaoInstanceId'),
    openbaoNamespace: record.optionalText('openbaoNamespace'),
    transitMountId: record.text('transitMountId'),
    transitKeyLineageId: record.text('transitKeyLineageId'),
    transitVersion: record.integer('transitVersion'),
    transitVersionCreatedAtUnix: record.integer('transitVersionCreatedAtUnix'),
    kubernetesKeyId: record.text('kubernetesKeyId'),
    state,
    observedAtUnix: record.optionalInteger('observedAtUnix'),
    stableObservationCount: record.optionalInteger('stableObservationCount'),
    stableAtUnix: record.optionalInteger('stableAtUnix'),
    promotedAtUnix: record.optionalInteger('promotedAtUnix'),
  };
  record.end();
  return snapshot;
}

function isSnapshotState(text: string): text is SnapshotState {
  return snapshotStates.includes(text);
}

/**
 * Checks every rule of the format in its order (spec/state 1.3).
 *
 * @throws ProviderError `state_corrupt`
 */
export function checkState(state: RegistryState): void {
  if (!isFingerprint(state.identityFingerprint)) throw corrupt('has a malformed identityFingerprint');
  if (!Number.isSafeInteger(state.generation) || state.generation < 1) throw corrupt('has a generation below 1');
  if (state.activeKeyId === '') throw corrupt('has no activeKeyId');
  if (state.snapshots.length === 0) throw corrupt('has no records');
  if (state.previousHash !== '' && !isStateHash(state.previousHash)) throw corrupt('has a malformed previousHash');
  if (!isStateHash(state.currentHash)) throw corrupt('has a malformed currentHash');
  if (hashState(state) !== state.currentHash) throw corrupt('does not have the hash that it names');
  state.snapshots.forEach(checkSnapshot);
  checkRelations(state);
}

function checkSnapshot(snapshot: Snapshot): void {
  const times = [
    snapshot.observedAtUnix,
    snapshot.stableObservationCount,
    snapshot.stableAtUnix,
    snapshot.promotedAtUnix,
  ];
  if (times.some((time) => !Number.isSafeInteger(time) || time < 0)) throw corrupt('has a record with a bad time');
  if (snapshot.transitVersion > maxTransitVersion) throw corrupt('has a record with a version out of range');
  if (derivedKeyId(snapshot) !== snapshot.kubernetesKeyId) throw corrupt('has a record whose key_id is not its own');
  const { observedAtUnix, stableObservationCount, stableAtUnix, promotedAtUnix } = snapshot;
  if (stableObservationCount > 0 && observedAtUnix === 0) throw corrupt('counts observations of a record never seen');
  if (stableAtUnix !== 0 && stableObservationCount === 0) throw corrupt('calls a record stable without a count');
  const isBeforeObserved = (time: number) => time !== 0 && observedAtUnix !== 0 && time < observedAtUnix;
  if (isBeforeObserved(stableAtUnix) || isBeforeObserved(promotedAtUnix)) throw corrupt('has a record out of order');
}

function derivedKeyId(snapshot: Snapshot): string | undefined {
  try {
    return deriveKeyId(snapshot, snapshot);
  } catch {
    return undefined;
  }
}

function checkRelations(state: RegistryState): void {
  const keyIds = new Set(state.snapshots.map((snapshot) => snapshot.kubernetesKeyId));
  if (keyIds.size !== state.snapshots.length) throw corrupt('has a key_id twice');
  const active = state.snapshots.filter((snapshot) => snapshot.state === 'active');
  if (active.length !== 1) throw corrupt('does not have exactly one active record');
  if (active[0]?.kubernetesKeyId !== state.activeKeyId) throw corrupt('names an activeKeyId that is not active');
}

function corrupt(what: string): ProviderError {
  return new ProviderError(
    'state_corrupt',
    `the registry state ${what}; restore state and checkpoint from backup or from a peer with the same identity`,
  );
}

/** Reads the members of one object and refuses what nobody asked for. */
export class Members {
  readonly #members: Map<string, unknown>;
  readonly #what: string;

  constructor(value: unknown, what: string) {
    this.#what = what;
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw corrupt(`cannot be read: ${what} is not a JSON object`);
    this.#members = new Map(Object.entries(value));
  }

  text(name: string): string {
    const value = this.#take(name);
    if (typeof value !== 'string' || value === '') throw corrupt(`lacks the text ${name} in ${this.#what}`);
    return value;
  }

  optionalText(name: string): string {
    return this.#members.has(name) ? this.text(name) : '';
  }

  integer(name: string): number {
    const value = this.#take(name);
    if (typeof value !== 'number' || !Number.isSafeInteger(value)) throw corrupt(`lacks the integer ${name}`);
    return value;
  }

  optionalInteger(name: string): number {
    return this.#members.has(name) ? this.integer(name) : 0;
  }

  list(name: string): readonly unknown[] {
    const value = this.#take(name);
    if (!Array.isArray(value)) throw corrupt(`lacks the list ${name}`);
    return value;
  }

  /** @throws ProviderError `state_corrupt` when a member was not read */
  end(): void {
    if (this.#members.size > 0) throw corrupt(`has an unknown member in ${this.#what}`);
  }

  #take(name: string): unknown {
    const value = this.#members.get(name);
    this.#members.delete(name);
    return value;
  }
}
