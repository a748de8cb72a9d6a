// The three KMS v2 methods over the port KeyService: limits, deadline, validation order, one observation per call. Knows no
// OpenBao and no gRPC library; the server hands in plain calls and sends plain answers.

import { ProviderError } from '../../shared/errors/error.ts';
import type { GrpcLabel, KmsErrorClass } from '../../shared/errors/policy.ts';
import { hashText } from '../../shared/text/hash.ts';
import type { Clock } from '../../shared/time/clock.ts';
import { withDeadline } from '../../shared/time/deadline.ts';
import { BatchSwitch } from './batch-switch.ts';
import {
  type BoundReached,
  batchSlots,
  maxBatchItems,
  maxDecryptCalls,
  maxRetainedBytes,
  maxWaiting,
} from './bounds.ts';
import type { DecodedDecrypt, DecryptResponse, EncryptRequest, EncryptResponse, StatusResponse } from './codec.ts';
import { DecryptQueue, type SendTogether } from './decrypt-queue.ts';
import { type KmsFailure, type KmsMethod, kmsFailureOf } from './failures.ts';
import { concurrencyLimit, FairShare, type Share } from './fair-share.ts';
import {
  areAnnotationsModest,
  checkRequestSizes,
  checkResponseSizes,
  decodeAnnotations,
  maxPlaintextBytes,
} from './limits.ts';

/** What a healthy Status reports and Encrypt uses: one snapshot for both, for the whole call. */
export type KeyView = {
  readonly healthz: 'ok' | 'unhealthy';
  /** Empty unless healthy. */
  readonly keyId: string;
  readonly transitKeyVersion: number | undefined;
};

export type EncryptedView = {
  readonly ciphertext: string;
  readonly keyId: string;
  readonly annotations: ReadonlyMap<string, string>;
};

/** What the methods need from the keys, in their own words. */
export type KeyService = {
  /** Reads the cached status; never calls OpenBao. */
  readonly status: () => KeyView;
  /** Encrypts with the key of this view. Throws ProviderError. */
  readonly encrypt: (view: KeyView, plaintext: Uint8Array, signal: AbortSignal) => Promise<EncryptedView>;
  /** Keeps the annotations that count. `areSound`: false when one that was dropped, or the whole, has not the right form. */
  readonly trim: (annotations: ReadonlyMap<string, string>) => {
    readonly annotations: ReadonlyMap<string, string>;
    readonly areSound: boolean;
  };
  /** Steps 8 to 13 (spec/kms 4.1); may read metadata for an unknown key_id. Throws ProviderError. */
  readonly resolve: (request: DecryptView, signal: AbortSignal) => Promise<ResolvedDecrypt>;
  /** Step 14, the only one that contacts OpenBao with the ciphertext. Throws ProviderError. */
  readonly decrypt: (item: SealedItem, signal: AbortSignal) => Promise<Buffer>;
  /** The same for several in one request. Undefined: OpenBao does not take them together. Throws ProviderError. */
  readonly decryptTogether: SendTogether<SealedItem>;
};

/** What OpenBao needs to decrypt one. */
export type SealedItem = { readonly ciphertext: string; readonly aad: Uint8Array };

export type DecryptView = {
  readonly ciphertext: Uint8Array;
  readonly keyId: string;
  readonly annotations: ReadonlyMap<string, string>;
  /** False: step 10 refuses them, whatever was kept of them. */
  readonly areAnnotationsSound: boolean;
};

export type ResolvedDecrypt = {
  readonly transitKeyVersion: number;
  readonly item: SealedItem;
  /** The version of the plugin that wrote it: the one annotation that the key_id does not determine. */
  readonly writtenBy: string;
};

export type KmsCall = {
  /** Ends with a ProviderError `canceled` when the caller is gone. */
  readonly signal: AbortSignal;
  /** Monotonic; infinite when the caller set none. */
  readonly deadlineMs: number;
  /** Whose call it is: connections share fairly. */
  readonly connection: object;
  /** Ends the call's own signal: somebody else needs its place. */
  readonly end: (reason: ProviderError) => void;
  /** Taken before with `enter`. */
  readonly slot?: Share | undefined;
};

export type KmsObservation = {
  readonly method: KmsMethod;
  readonly status: GrpcLabel;
  readonly durationMs: number;
  readonly keyIdHash?: string | undefined;
  readonly transitKeyVersion?: number | undefined;
  readonly uid?: string | undefined;
  readonly errorClass?: KmsErrorClass | undefined;
  readonly healthz?: string | undefined;
  readonly panicType?: string | undefined;
};

export type KmsDeps = {
  readonly clock: Clock;
  readonly keys: KeyService;
  readonly settings: {
    readonly maxConcurrentStatus: number;
    readonly maxConcurrentEncrypt: number;
    readonly maxConcurrentDecrypt: number;
    /** Whether Decrypts that wait may leave together. */
    readonly isBatching: boolean;
    /** Our own deadline for one call; 0 means none. */
    readonly timeoutMs: number;
  };
  readonly record: (observation: KmsObservation) => void;
  readonly countKeyIdError: (reason: 'key_id_malformed' | 'key_id_unknown') => void;
  readonly countAadError: (reason: 'aad_missing' | 'annotation_invalid' | 'aad_mismatch') => void;
  /** Hears of each request for Decrypts, and how many went with it. */
  readonly sentDecrypts?: (items: number) => void;
  /** Hears that OpenBao does not take several Decrypts together, so that each goes alone for a while. */
  readonly batchesOff?: () => void;
  /** Hears that a bound was reached. */
  readonly reached?: BoundReached;
};

/** What a method answers: the message, or the failure to be sent. */
export type KmsAnswer<T> = { readonly message: T } | { readonly failure: KmsFailure };

export type Kms = {
  /**
   * Takes the slot of a Status or an Encrypt whose first byte has come. Until its body is there the call gives way to another one.
   *
   * @param lose  ends it when that happens
   */
  readonly enter: (
    method: 'status' | 'encrypt',
    connection: object,
    lose: () => void,
  ) => { readonly slot: Share } | { readonly failure: KmsFailure };
  readonly status: (call: KmsCall) => Promise<KmsAnswer<StatusResponse>>;
  readonly encrypt: (request: EncryptRequest, call: KmsCall) => Promise<KmsAnswer<EncryptResponse>>;
  readonly decrypt: (request: DecodedDecrypt, call: KmsCall) => Promise<KmsAnswer<DecryptResponse>>;
  readonly inFlight: () => Readonly<Record<KmsMethod, number>>;
};

/** Left for the answer to reach the caller after OpenBao's own time limit, so that its class survives. */
export const ownMarginMs = 250;
const queueMarginMs = 100;
const version = 'v2';

type Noted = { -readonly [name in keyof KmsObservation]?: KmsObservation[name] };

export function createKms(deps: KmsDeps): Kms {
  const reached = deps.reached ?? (() => {});
  const yielding = (capacity: number) =>
    new FairShare({ capacity, yields: 'always', reached: () => reached('slot_yielded') });
  const context: Context = {
    deps,
    limits: {
      status: yielding(deps.settings.maxConcurrentStatus),
      encrypt: yielding(deps.settings.maxConcurrentEncrypt),
      decrypt: new FairShare({
        capacity: maxDecryptCalls,
        yields: 'fairly',
        reached: () => reached('decrypt_calls'),
      }),
    },
    retained: new FairShare({
      capacity: maxRetainedBytes,
      yields: 'fairly',
      reached: () => reached('retained_bytes'),
    }),
    queue: createQueue(deps, () => reached('waiting_decrypts')),
  };
  const { limits } = context;
  return {
    enter: (method, connection, lose) => enter(context, method, connection, lose),
    status: (call) => observed(context, 'status', call, (noted) => readStatus(context, noted)),
    encrypt: (request, call) =>
      observed(context, 'encrypt', call, (noted) => encrypt(context, request, call, noted), request.uid),
    decrypt: (request, call) =>
      observed(context, 'decrypt', call, (noted) => decrypt(context, request, call, noted), request.uid),
    inFlight: () => ({ status: limits.status.used, encrypt: limits.encrypt.used, decrypt: limits.decrypt.used }),
  };
}

function createQueue(deps: KmsDeps, full: () => void): DecryptQueue<SealedItem> {
  const { clock, keys, settings, sentDecrypts = () => {}, batchesOff = () => {} } = deps;
  const batches = {
    switch: new BatchSwitch(clock, batchesOff),
    slots: batchSlots,
    maxItems: maxBatchItems,
    send: (items: readonly SealedItem[], signal: AbortSignal) => {
      sentDecrypts(items.length);
      return keys.decryptTogether(items, signal);
    },
  };
  return new DecryptQueue({
    clock,
    slots: settings.maxConcurrentDecrypt,
    maxWaiting,
    marginMs: queueMarginMs,
    send: (item, signal) => {
      sentDecrypts(1);
      return keys.decrypt(item, signal);
    },
    batches: settings.isBatching ? batches : undefined,
    full,
  });
}

type Context = {
  readonly deps: KmsDeps;
  readonly limits: Readonly<Record<KmsMethod, FairShare>>;
  /** Request bytes of the Decrypts in flight. */
  readonly retained: FairShare;
  readonly queue: DecryptQueue<SealedItem>;
};

/** A refusal at the first byte is the one observation of its call. */
function enter({ deps, limits }: Context, method: 'status' | 'encrypt', connection: object, lose: () => void) {
  try {
    return { slot: limits[method].take(connection, 1, lose) };
  } catch (error) {
    const failure = kmsFailureOf(error, method);
    deps.record({ method, durationMs: 0, status: failure.label, errorClass: failure.errorClass });
    return { failure };
  }
}

/** A slot that nobody can take away any more, or for a Decrypt one that only a greedy connection loses. */
function takeSlot({ limits }: Context, method: KmsMethod, call: KmsCall): Share {
  const slot = call.slot ?? limits[method].take(call.connection, 1, () => call.end(concurrencyLimit()));
  if (method !== 'decrypt') slot.keep();
  return slot;
}

/** Slot, run, release, classify, record once: in this order, whatever happens inside. */
async function observed<T>(
  context: Context,
  method: KmsMethod,
  call: KmsCall,
  run: (noted: Noted) => Promise<T>,
  uid?: string,
): Promise<KmsAnswer<T>> {
  const { deps } = context;
  const startedAtMs = deps.clock.nowMs();
  const noted: Noted = {};
  let failure: KmsFailure | undefined;
  let answer: KmsAnswer<T>;
  try {
    const slot = takeSlot(context, method, call);
    try {
      call.signal.throwIfAborted();
      answer = { message: await run(noted) };
    } finally {
      slot.release();
    }
  } catch (error) {
    failure = kmsFailureOf(error, method);
    if (failure.errorClass === 'panic') noted.panicType = typeName(error);
    answer = { failure };
  }
  const durationMs = deps.clock.nowMs() - startedAtMs;
  const outcome = { status: failure?.label ?? 'ok', errorClass: failure?.errorClass } as const;
  deps.record({ method, durationMs, uid, ...noted, ...outcome });
  return answer;
}

/** Of the few key_ids that calls name. */
const keyIdHashes = new Map<string, string>();
const maxKeyIdHashes = 64;

function hashOf(keyId: string): string {
  const known = keyIdHashes.get(keyId);
  if (known !== undefined) return known;
  const made = hashText(keyId);
  if (keyIdHashes.size >= maxKeyIdHashes) keyIdHashes.clear();
  keyIdHashes.set(keyId, made);
  return made;
}

function typeName(thrown: unknown): string {
  const name = thrown instanceof Error ? thrown.constructor.name : typeof thrown;
  return /^[A-Za-z]{1,40}$/u.test(name) ? name : 'unknown';
}

async function readStatus({ deps }: Context, noted: Noted): Promise<StatusResponse> {
  const { healthz, keyId } = statusOrUnhealthy(deps.keys);
  noted.healthz = healthz;
  if (healthz === 'ok') noted.keyIdHash = hashOf(keyId);
  return { version, healthz, keyId: healthz === 'ok' ? keyId : '' };
}

/** A Status that cannot be read is a successful answer that says unhealthy. */
function statusOrUnhealthy(keys: KeyService): KeyView {
  try {
    return keys.status();
  } catch {
    return { healthz: 'unhealthy', keyId: '', transitKeyVersion: undefined };
  }
}

async function encrypt(
  context: Context,
  request: EncryptRequest,
  call: KmsCall,
  noted: Noted,
): Promise<EncryptResponse> {
  const { keys } = context.deps;
  // control: encrypt.empty-plaintext
  if (request.plaintext.length === 0) throw new ProviderError('plaintext_required', 'plaintext is required');
  return untilDeadline(context, call, async (signal) => {
    const view = readView(keys);
    noted.healthz = view.healthz; // control: encrypt.noted-healthz
    if (view.healthz !== 'ok') throw new ProviderError('status_unhealthy', 'status unhealthy'); // control: encrypt.healthy-status
    if (view.keyId === '') throw new ProviderError('active_key_unavailable', 'active key unavailable');
    noted.keyIdHash = hashOf(view.keyId);
    noted.transitKeyVersion = view.transitKeyVersion;
    if (request.plaintext.length > maxPlaintextBytes) {
      throw new ProviderError('response_limit', 'kms response exceeds protocol limits');
    }
    const encrypted = await keys.encrypt(view, request.plaintext, signal);
    if (encrypted.keyId !== view.keyId) throw new ProviderError('status_key_mismatch', 'status key_id mismatch');
    checkResponseSizes(encrypted.ciphertext, encrypted.keyId, encrypted.annotations);
    const annotations = new Map<string, Buffer>();
    for (const [name, value] of encrypted.annotations) annotations.set(name, Buffer.from(value, 'utf8'));
    return { ciphertext: Buffer.from(encrypted.ciphertext, 'utf8'), keyId: encrypted.keyId, annotations };
  });
}

function readView(keys: KeyService): KeyView {
  try {
    return keys.status();
  } catch (cause) {
    throw new ProviderError('status_unavailable', 'status unavailable', { cause });
  }
}

async function decrypt(
  context: Context,
  request: DecodedDecrypt,
  call: KmsCall,
  noted: Noted,
): Promise<DecryptResponse> {
  const view = viewOf(context, request);
  // control: decrypt.retained
  const retained = context.retained.take(call.connection, request.sizeBytes, () => call.end(concurrencyLimit()));
  try {
    return await untilDeadline(context, call, (signal, deadlineMs) =>
      resolveAndDecrypt(context, view, { ...call, signal, deadlineMs }, noted),
    );
  } finally {
    retained.release();
  }
}

/** Steps 2 to 6 (spec/kms 4.1), and what is kept of the request while it waits. What it does not need of it is let go at once. */
function viewOf({ deps }: Context, request: DecodedDecrypt): DecryptView {
  const { ciphertext, keyId, hasDuplicates } = request;
  if (ciphertext.length === 0) throw new ProviderError('ciphertext_required', 'ciphertext is required');
  checkRequestSizes(ciphertext, keyId);
  const isModest = areAnnotationsModest(request.annotations);
  const { annotations, areSound } = deps.keys.trim(decodeAnnotations(request.annotations));
  request.annotations.clear();
  const areAnnotationsSound = areSound && isModest && !hasDuplicates;
  return { ciphertext, keyId, annotations: isModest ? annotations : new Map(), areAnnotationsSound };
}

async function resolveAndDecrypt(
  context: Context,
  view: DecryptView,
  { signal, deadlineMs, connection }: KmsCall,
  noted: Noted,
): Promise<DecryptResponse> {
  noted.keyIdHash = hashOf(view.keyId); // control: decrypt.noted-key-id
  const resolved = await resolve(context, view, signal);
  noted.transitKeyVersion = resolved.transitKeyVersion;
  const { item } = resolved;
  const identity = identityOf(view, resolved);
  return { plaintext: await context.queue.decrypt({ identity, connection, deadlineMs, signal, item }) };
}

/** Counts the failures of steps 8 and 9, and of 10 to 12 (spec/kms 4.1); a failure before them touches neither counter. */
async function resolve({ deps }: Context, request: DecryptView, signal: AbortSignal): Promise<ResolvedDecrypt> {
  try {
    return await deps.keys.resolve(request, signal);
  } catch (error) {
    const { errorClass } = kmsFailureOf(error, 'decrypt');
    if (errorClass === 'key_id_malformed' || errorClass === 'key_id_unknown') deps.countKeyIdError(errorClass);
    if (errorClass === 'aad_missing' || errorClass === 'annotation_invalid' || errorClass === 'aad_mismatch') {
      deps.countAadError(errorClass);
    }
    throw error;
  }
}

/**
 * A hash: what waits keeps no request to be told from others. Neither the key_id nor the ciphertext has a blank, so no other call has
 * this text.
 */
function identityOf({ keyId }: DecryptView, { writtenBy, item }: ResolvedDecrypt): string {
  return hashText(`${keyId} ${writtenBy} ${item.ciphertext}`); // control: decrypt.identity
}

/** The earlier of the caller's deadline and our own. */
function untilDeadline<T>(
  { deps }: Context,
  call: KmsCall,
  run: (signal: AbortSignal, deadlineMs: number) => Promise<T>,
): Promise<T> {
  const nowMs = deps.clock.nowMs();
  const ownMs =
    deps.settings.timeoutMs === 0 ? Number.POSITIVE_INFINITY : nowMs + deps.settings.timeoutMs + ownMarginMs;
  const deadlineMs = Math.min(ownMs, call.deadlineMs);
  const late = () => new ProviderError('timeout', 'request timed out');
  const limits = { timeoutMs: deadlineMs - nowMs, signal: call.signal };
  return withDeadline(limits, late, deps.clock, (signal) => run(signal, deadlineMs));
}
