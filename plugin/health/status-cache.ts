// What Status, /ready and the metrics are answered from: the published state with its decrypt registry, and the evidence of
// both probes. Publishing replaces everything at once; no reader sees half of it. Answering never calls OpenBao.

import type { DirectoryName } from '../../shared/channel/messages.ts';
import { isLarge } from '../../shared/registry/belief.ts';
import type { RegistryState, Snapshot } from '../../shared/registry/state.ts';
import { activeSnapshot } from '../../shared/registry/successor.ts';
import { type Age, type Reading, startAge } from '../../shared/time/age.ts';
import type { Clock } from '../../shared/time/clock.ts';
import { isFatal, type RightFinding } from '../keys/rights.ts';
import { type Failing, type Failure, judge, type KindEvidence, type Verdict, type VerdictLimits } from './verdict.ts';

type Published = {
  readonly state: RegistryState;
  readonly active: Snapshot;
  /** Decryptable records by key_id: active, pending, retired. */
  readonly registry: ReadonlyMap<string, Snapshot>;
  readonly isLarge: boolean;
};

type Since = { readonly unixMs: number; readonly age: Age };

type ProbeEvidence = {
  readonly good: { readonly age: Age; readonly startedAtMs: number } | undefined;
  readonly failure: Failure | undefined;
  /** The last wrong answer since the last success. Nothing but a success forgets it. */
  readonly wrong: Failure | undefined;
  /** Begin of the first failure since the last success. */
  readonly failing: Since | undefined;
};
type RightsSeen = {
  readonly findings: readonly RightFinding[];
  readonly failing: Since | undefined;
  /** When OpenBao told them, monotonic. */
  readonly seenAtMs: number;
};
const nothing: ProbeEvidence = { good: undefined, failure: undefined, wrong: undefined, failing: undefined };

export class StatusCache {
  readonly #clock: Pick<Clock, 'nowMs' | 'wallMs'>;
  readonly #limits: VerdictLimits;
  #published: Published | undefined;
  #metadata: ProbeEvidence = nothing;
  #deep: ProbeEvidence = nothing;
  #rights: RightsSeen = { findings: [], failing: undefined, seenAtMs: Number.NEGATIVE_INFINITY };
  #isPersistenceDegraded = false;
  isSocketLost = false;
  /** As the supervisor last said. */
  directoriesGone: readonly DirectoryName[] = [];
  isShuttingDown = false;

  constructor(clock: Pick<Clock, 'nowMs' | 'wallMs'>, limits: VerdictLimits) {
    this.#clock = clock;
    this.#limits = limits;
  }

  get state(): RegistryState | undefined {
    return this.#published?.state;
  }

  get active(): Snapshot | undefined {
    return this.#published?.active;
  }

  /** Whether the published registry comes near to what it may hold. */
  get isRegistryLarge(): boolean {
    return this.#published?.isLarge === true;
  }

  /** Whether the active key's latest deep probe succeeded. */
  get isDeepGood(): boolean {
    return this.#deep.good !== undefined && this.#deep.failure === undefined;
  }

  /** When the active key's latest deep probe began, on the monotonic clock; undefined when it did not succeed. */
  get deepProvenAtMs(): number | undefined {
    return this.isDeepGood ? this.#deep.good?.startedAtMs : undefined;
  }

  get isMetadataGood(): boolean {
    return this.#metadata.good !== undefined && this.#metadata.failure === undefined;
  }

  /** The record that a key_id names, if it may decrypt. */
  lookUp(keyId: string): Snapshot | undefined {
    return this.#published?.registry.get(keyId);
  }

  /** Whether a record of any state has this key_id. */
  isRecorded(keyId: string): boolean {
    return this.#published?.state.snapshots.some((snapshot) => snapshot.kubernetesKeyId === keyId) ?? false;
  }

  /** Makes a state usable for Decrypt without saying that it was verified: what the disk held at the start. */
  load(state: RegistryState): void {
    this.#published = publishedOf(state);
  }

  /**
   * A metadata probe succeeded and this is the state after it.
   *
   * @param startedAt  when the probe began: ages count from there
   * @param isDeepProven  the new active key has just passed its own deep probe: a deep probe like any other
   */
  publish(state: RegistryState, startedAt: Reading, isDeepProven = false): void {
    const next = publishedOf(state);
    const isActiveChanged = next.active.kubernetesKeyId !== this.#published?.active.kubernetesKeyId;
    this.#published = next;
    this.#metadata = this.#good(startedAt);
    this.#isPersistenceDegraded = false;
    if (!isActiveChanged) return;
    // Evidence of another key is none; that deep probes failed until now stays true until one succeeds.
    this.#deep = isDeepProven ? this.#good(startedAt) : { ...this.#deep, good: undefined };
  }

  /** The published state was confirmed although bookkeeping could not be saved (spec/state 4.5). */
  confirmUnsaved(startedAt: Reading): void {
    this.#metadata = this.#good(startedAt);
    this.#isPersistenceDegraded = true;
  }

  metadataFailed(failure: Failure): void {
    this.#metadata = this.#failed(this.#metadata, failure);
  }

  deepPassed(keyId: string, startedAt: Reading): void {
    if (keyId !== this.#published?.active.kubernetesKeyId) return;
    this.#deep = this.#good(startedAt);
  }

  deepFailed(failure: Failure): void {
    this.#deep = this.#failed(this.#deep, failure);
  }

  /** OpenBao told our rights. */
  rightsSeen(findings: readonly RightFinding[]): void {
    const isFailing = findings.some(isFatal);
    const failing = isFailing ? (this.#rights.failing ?? this.#since()) : undefined;
    this.#rights = { findings, failing, seenAtMs: this.#clock.nowMs() };
  }

  /**
   * Our rights were asked for in vain. What was missing is taken to be missing still, until a deep probe that began later has
   * encrypted and decrypted: nothing else could end it while the question is not answered.
   *
   * @param isRefused  the policy does not allow the question
   */
  rightsUnanswered(isRefused: boolean): void {
    const { findings, failing, seenAtMs } = this.#rights;
    const isProven = this.deepProvenAtMs !== undefined && this.deepProvenAtMs > seenAtMs;
    const known = findings.filter((finding) => (isFatal(finding) ? !isProven : !isRefused));
    this.#rights = {
      findings: isRefused ? [...known, 'missing_capabilities'] : known,
      failing: isProven ? undefined : failing,
      seenAtMs,
    };
  }

  get rightFindings(): readonly RightFinding[] {
    return this.#rights.findings;
  }

  #good(startedAt: Reading): ProbeEvidence {
    return { ...nothing, good: { age: startAge(this.#clock, startedAt), startedAtMs: startedAt.nowMs } };
  }

  /** A failure without an answer takes no wrong answer back. */
  #failed({ good, wrong, failing }: ProbeEvidence, failure: Failure): ProbeEvidence {
    return {
      good,
      failure,
      wrong: failure.kind === 'wrong_answer' ? failure : wrong,
      failing: failing ?? this.#since(),
    };
  }

  #since(): Since {
    return { unixMs: this.#clock.wallMs(), age: startAge(this.#clock) };
  }

  verdict(): Verdict {
    return judge(
      {
        state: this.#published?.state,
        metadata: kindEvidence(this.#metadata),
        deep: kindEvidence(this.#deep),
        rights: { findings: this.#rights.findings, failing: failingNow(this.#rights.failing) },
        isPersistenceDegraded: this.#isPersistenceDegraded,
        isSocketLost: this.isSocketLost,
        isRuntimeDirectoryGone: this.directoriesGone.includes('runtime'),
        isShuttingDown: this.isShuttingDown,
      },
      this.#limits,
    );
  }
}

function kindEvidence({ good, failure, wrong, failing }: ProbeEvidence): KindEvidence {
  return { goodAgeMs: good?.age.ageMs(), failure, wrong, failing: failingNow(failing) };
}

function failingNow(since: Since | undefined): Failing | undefined {
  return since && { sinceUnixMs: since.unixMs, ageMs: since.age.ageMs() };
}

function publishedOf(state: RegistryState): Published {
  const usable = state.snapshots.filter(
    ({ state: kind }) => kind === 'active' || kind === 'pending' || kind === 'retired', // control: status-cache.usable
  );
  const registry = new Map(usable.map((snapshot) => [snapshot.kubernetesKeyId, snapshot]));
  return { state, active: activeSnapshot(state), registry, isLarge: isLarge(state) };
}
