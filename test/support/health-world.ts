// A plugin's probes, schedule and call evidence before an OpenBao that does what a walk says, in virtual time; and beside them a
// book of what really happened, kept from the events alone, which the verdict is compared with.

import { StatusCache } from '../../plugin/health/status-cache.ts';
import type { RightFinding } from '../../plugin/keys/rights.ts';
import { createCallEvidence } from '../../plugin/probes/call-evidence.ts';
import type { ProbeEvent, ProbeKind } from '../../plugin/probes/probe-event.ts';
import { Probes } from '../../plugin/probes/probes.ts';
import { createScheduler } from '../../plugin/probes/scheduler.ts';
import { type ErrorClass, ProviderError } from '../../shared/errors/error.ts';
import { policies } from '../../shared/errors/policy.ts';
import { createVirtualClock } from '../simulation/virtual-clock.ts';
import { fingerprint, identity, profile } from './vectors.ts';

export const operations = ['upsert', 'metadata', 'encrypt', 'decrypt', 'rights'] as const;
export type OperationName = (typeof operations)[number];
/** What an operation answers; `hangs`: nothing until the time limit of a request. */
export type Fault = ErrorClass | 'hangs' | undefined;

export const limits = { statusMaxStalenessMs: 120_000, deepMaxAgeMs: 900_000 };
const requestLimitMs = 2_000;

/** What the events told about one kind of probe. */
export type Book = {
  /** Begin of the last good probe; of the active key. */
  goodAtMs: number | undefined;
  isWrong: boolean;
  isFailing: boolean;
  starts: { atMs: number; isForward: boolean }[];
};

export function createHealthWorld(random: () => number) {
  const clock = createVirtualClock();
  const cache = new StatusCache(clock, limits);
  const faults: Partial<Record<OperationName, Fault>> = {};
  const world = {
    latestVersion: 1,
    isDeletionAllowed: false,
    missing: [] as readonly RightFinding[],
    /** What the last answered look was told. */
    seen: [] as readonly RightFinding[],
    seenAtMs: Number.NEGATIVE_INFINITY,
    skips: 0,
    rightsLooks: 0,
  };
  const books: Record<ProbeKind, Book> = { metadata: emptyBook(), deep: emptyBook() };
  const answer = async (name: OperationName) => {
    const fault = faults[name];
    if (fault === undefined) return;
    if (fault === 'hangs') await new Promise<void>((resolve) => clock.after(requestLimitMs, resolve));
    throw new ProviderError(fault === 'hangs' ? 'timeout' : fault, 'x', { facts: { status: 500 } });
  };
  let sealed = Buffer.alloc(0);
  const transit = {
    readUpsertDisabled: async () => {
      await answer('upsert');
      return true;
    },
    readKey: async () => {
      await answer('metadata');
      return profile(world.latestVersion, { isDeletionAllowed: world.isDeletionAllowed });
    },
    encrypt: async ({ keyVersion, plaintext }: { readonly keyVersion: number; readonly plaintext: Uint8Array }) => {
      await answer('encrypt');
      sealed = Buffer.from(plaintext);
      return `vault:v${keyVersion}:eA==`;
    },
    decrypt: async () => {
      await answer('decrypt');
      return Buffer.from(sealed);
    },
  };
  const probes = new Probes({
    clock,
    random,
    cache,
    transit,
    readRights: async () => {
      await answer('rights');
      world.seen = world.missing;
      world.seenAtMs = clock.nowMs();
      return world.missing;
    },
    commit: async () => ({ outcome: 'saved', onDisk: 'attempted' }),
    randomBytes: (size) => Buffer.alloc(size, 7),
    record: (event) => note(event),
    settings: {
      identity,
      identityFingerprint: fingerprint,
      keyName: identity.transitKeyName,
      stableCount: 2,
      activationDelayMs: 20_000,
      probeIntervalMs: 30_000,
      rejectVersionRollback: true,
      timeoutMs: requestLimitMs,
      stable: undefined,
    },
  });
  const note = (event: ProbeEvent) => {
    if (event.kind === 'skipped') world.skips += 1;
    if (event.kind === 'rights') world.rightsLooks += 1;
    const isProven = !books.deep.isFailing && (books.deep.goodAtMs ?? Number.NEGATIVE_INFINITY) > world.seenAtMs;
    // Nobody tells the rights, and a later round trip has shown them.
    if (event.kind === 'rights' && event.error !== undefined && isProven) world.seen = [];
    // A promotion follows the proof of its candidate at once.
    if (event.kind === 'promoted') books.deep = { ...emptyBook(), starts: books.deep.starts, goodAtMs: clock.nowMs() };
    if (event.kind === 'probe' || event.kind === 'rights') scheduler.replan();
    if (event.kind !== 'probe' || event.trigger === 'candidate') return;
    const book = books[event.probe];
    const atMs = clock.nowMs() - event.durationMs;
    book.starts.push({ atMs, isForward: event.trigger === 'call' });
    const error = event.failed?.error;
    book.isFailing = error !== undefined;
    if (error === undefined) [book.goodAtMs, book.isWrong] = [atMs, false];
    else book.isWrong ||= isWrongAnswer(error);
  };
  const settings = {
    graceTimeoutMs: 0,
    retryIntervalMs: 5_000,
    probeIntervalMs: 30_000,
    deepProbeIntervalMs: 300_000,
  };
  const scheduler = createScheduler({ clock, random, probes, cache, settings });
  const evidence = createCallEvidence({ clock, cache, probes, scheduler });
  /** A KMS call as the key service makes it. @returns its error, and whether it changed what is shown */
  const call = async (
    method: 'encrypt' | 'decrypt',
    name: string,
    isDamaged: boolean,
  ): Promise<{ readonly error: unknown; readonly isChanged: boolean }> => {
    const error = isDamaged
      ? new ProviderError('bao_decrypt_failed', 'x')
      : await answer(method).then(
          () => undefined,
          (thrown: unknown) => thrown,
        );
    const before = shown({ cache });
    evidence.call({ method, identity: () => name, error });
    return { error, isChanged: shown({ cache }) !== before };
  };
  return { clock, cache, faults, world, books, probes, scheduler, evidence, call };
}

export type HealthWorld = ReturnType<typeof createHealthWorld>;

const emptyBook = (): Book => ({ goodAtMs: undefined, isWrong: false, isFailing: false, starts: [] });

export function isWrongAnswer(error: unknown): boolean {
  let current = error;
  while (current instanceof Error && !(current instanceof ProviderError)) current = current.cause;
  return !(current instanceof ProviderError) || policies[current.class].evidence === 'wrong_answer';
}

/** What an operator sees, without what changes with every moment. */
export function shown({ cache }: Pick<HealthWorld, 'cache'>): string {
  const { healthz, reasons, metadataErrorClass, deepErrorClass, cause } = cache.verdict();
  const { ageMs: _, ...named } = cause ?? { ageMs: 0 };
  return JSON.stringify({ healthz, reasons, metadataErrorClass, deepErrorClass, named });
}
