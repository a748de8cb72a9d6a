// Joins registry, Transit and discovery into the port that the KMS methods serve. Decides nothing about health: it reads
// the one verdict that everybody reads.

import { ProviderError } from '../shared/errors/error.ts';
import { deriveKeyId, parseKeyId } from '../shared/registry/key-id.ts';
import type { Snapshot } from '../shared/registry/state.ts';
import { hashText } from '../shared/text/hash.ts';
import type { StatusCache } from './health/status-cache.ts';
import { buildAad } from './keys/aad.ts';
import {
  type Annotations,
  annotationNames,
  areOurs,
  buildAnnotations,
  checkAnnotations,
  type ExpectedAnnotations,
  expectAnnotations,
  keepKnown,
  type ParsedAnnotations,
  parseAnnotations,
} from './keys/annotations.ts';
import type { SendTogether } from './kms/decrypt-queue.ts';
import type { DecryptView, KeyService, KeyView, ResolvedDecrypt, SealedItem } from './kms/kms.ts';
import type { CallEvidence } from './probes/call-evidence.ts';
import type { Discovery } from './probes/discovery.ts';
import { isPrintableAscii, versionOfCiphertext } from './transit/ciphertext.ts';
import type { Transit } from './transit/transit.ts';

export type KeyServiceDeps = {
  readonly cache: StatusCache;
  readonly transit: Pick<Transit, 'encrypt' | 'decrypt' | 'decryptTogether'>;
  readonly discovery: Pick<Discovery, 'find'>;
  /** Hears what became of every call that reached OpenBao. */
  readonly evidence: Pick<CallEvidence, 'call'>;
  readonly pluginVersion: string;
};

/** A view and the snapshot it was made from; nobody else can make one that encrypts. */
type ActiveView = KeyView & { readonly snapshot?: Snapshot };
const unhealthy: KeyView = { healthz: 'unhealthy', keyId: '', transitKeyVersion: undefined };

/** Associated data and annotations depend on the record alone, so each record has them worked out once. */
type Bound = {
  readonly aad: Buffer;
  readonly annotations: Annotations;
  readonly expected: ExpectedAnnotations;
  readonly isSound: boolean;
};

function createBinder(pluginVersion: string): (snapshot: Snapshot) => Bound {
  const bound = new WeakMap<Snapshot, Bound>();
  return (snapshot) => {
    const known = bound.get(snapshot);
    if (known !== undefined) return known;
    const made = {
      aad: buildAad(snapshot),
      annotations: buildAnnotations(snapshot, pluginVersion),
      expected: expectAnnotations(snapshot),
      isSound: deriveKeyId(snapshot, snapshot) === snapshot.kubernetesKeyId,
    };
    bound.set(snapshot, made);
    return made;
  };
}

export function createKeyService(deps: KeyServiceDeps): KeyService {
  const views = new WeakMap<KeyView, Snapshot>();
  const bind = createBinder(deps.pluginVersion);
  return {
    status: () => {
      const view = activeView(deps.cache, bind);
      if (view.snapshot !== undefined) views.set(view, view.snapshot);
      return view;
    },
    encrypt: async (view, plaintext, signal) => {
      const snapshot = views.get(view);
      if (snapshot === undefined) throw new ProviderError('active_key_unavailable', 'active key unavailable');
      const { aad, annotations } = bind(snapshot);
      const request = { keyVersion: snapshot.transitVersion, plaintext, aad };
      const answer = deps.transit.encrypt(request, signal);
      const ciphertext = await witnessed(deps, 'encrypt', () => view.keyId, answer);
      return { ciphertext, keyId: snapshot.kubernetesKeyId, annotations };
    },
    trim: (annotations) => {
      const { kept, isWellNamed } = keepKnown(annotations);
      return { annotations: kept, areSound: isWellNamed };
    },
    resolve: (request, signal) => resolveDecrypt(deps, bind, request, signal),
    decrypt: (item, signal) =>
      witnessed(deps, 'decrypt', () => hashText(item.ciphertext), deps.transit.decrypt(item, signal)),
    decryptTogether: (items, signal) => decryptTogether(deps, items, signal),
  };
}

function activeView(cache: StatusCache, bind: (snapshot: Snapshot) => Bound): ActiveView {
  if (cache.verdict().healthz !== 'ok') return unhealthy;
  const snapshot = cache.active;
  if (snapshot?.state !== 'active') return unhealthy;
  const keyId = snapshot.kubernetesKeyId;
  if (!bind(snapshot).isSound) return unhealthy;
  return { healthz: 'ok', keyId, transitKeyVersion: snapshot.transitVersion, snapshot };
}

/** Steps 8 to 13 (spec/kms 4.1): all of them before Transit hears of the call. */
async function resolveDecrypt(
  deps: KeyServiceDeps,
  bind: (snapshot: Snapshot) => Bound,
  request: DecryptView,
  signal: AbortSignal,
): Promise<ResolvedDecrypt> {
  // What is recorded has the right form.
  const recorded = deps.cache.lookUp(request.keyId) ?? deps.cache.lookUp(parseKeyId(request.keyId));
  const snapshot = recorded ?? (await discover(deps, request, signal));
  const { aad, expected } = bind(snapshot);
  const isOurs = request.areAnnotationsSound && areOurs(request.annotations, expected);
  if (!isOurs) checkAnnotations(parseSound(request), snapshot); // control: key-service.annotations
  const ciphertext = textOf(request.ciphertext);
  if (!isPrintableAscii(ciphertext)) {
    throw new ProviderError('bao_invalid_request', 'the ciphertext is not Transit text');
  }
  const labelled = versionOfCiphertext(ciphertext);
  if (labelled !== undefined && labelled !== snapshot.transitVersion) {
    throw new ProviderError('bao_decrypt_failed', 'the ciphertext names another version than its key_id');
  }
  const writtenBy = request.annotations.get(annotationNames.pluginVersion) ?? '';
  return { transitKeyVersion: snapshot.transitVersion, item: { ciphertext, aad }, writtenBy };
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
}

/** Each of them is evidence as if it had gone alone. A request that is refused as a whole says nothing about any of them. */
async function decryptTogether(
  { transit, evidence }: KeyServiceDeps,
  items: readonly SealedItem[],
  signal: AbortSignal,
): ReturnType<SendTogether<SealedItem>> {
  const tell = (item: SealedItem, outcome: object) =>
    evidence.call({ method: 'decrypt', identity: () => hashText(item.ciphertext), ...outcome });
  try {
    const outcomes = await transit.decryptTogether(items, signal);
    if (outcomes === undefined) return undefined;
    for (const [index, item] of items.entries()) {
      const outcome = outcomes[index];
      if (outcome !== undefined) tell(item, 'error' in outcome ? outcome : {});
    }
    return outcomes;
  } catch (error) {
    for (const item of items) tell(item, { error });
    throw error;
  }
}

/** Tells what became of a call, whatever it is. */
async function witnessed<T>(
  { evidence }: KeyServiceDeps,
  method: 'encrypt' | 'decrypt',
  identity: () => string,
  answer: Promise<T>,
): Promise<T> {
  try {
    const value = await answer;
    evidence.call({ method, identity });
    return value;
  } catch (error) {
    evidence.call({ method, identity, error });
    throw error;
  }
}

/** Junk annotations cause no metadata read; the answer for an unknown id stays that of an unknown id. */
async function discover(deps: KeyServiceDeps, request: DecryptView, signal: AbortSignal): Promise<Snapshot> {
  const unknown = () => new ProviderError('key_id_unknown', 'key_id unknown');
  if (!isWellFormed(request)) throw unknown();
  const found = await deps.discovery.find(request.keyId, signal);
  if (found === undefined) throw unknown(); // control: key-service.unknown-id
  return found;
}

function isWellFormed(request: DecryptView): boolean {
  try {
    parseSound(request);
    return true;
  } catch {
    return false;
  }
}

/** @throws ProviderError `annotation_invalid`, also for what was wrong with annotations that were not kept */
function parseSound({ annotations, areAnnotationsSound }: DecryptView): ParsedAnnotations {
  if (!areAnnotationsSound) throw new ProviderError('annotation_invalid', 'annotations invalid');
  return parseAnnotations(annotations);
}
