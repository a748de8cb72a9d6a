// What Status, /ready and the metrics are answered from: the published state with its decrypt registry, and the evidence of
// both probes. Publishing replaces everything at once; no reader sees half of it. Answering never calls OpenBao.

import type { DirectoryName } from '../../shared/channel/messages.ts';
import type { RegistryState, Snapshot } from '../../shared/registry/state.ts';
import { activeSnapshot } from '../../shared/registry/successor.ts';
import { type Age, type Reading, startAge } from '../../shared/time/age.ts';
import type { Clock } from '../../shared/time/clock.ts';
import { type Failure, judge, type Verdict, type VerdictLimits } from './verdict.ts';

type Published = {
  readonly state: RegistryState;
  readonly active: Snapshot;
  /** Decryptable records by key_id: active, pending, retired. */
  readonly registry: ReadonlyMap<string, Snapshot>;
};

type ProbeEvidence = { readonly good: Age | undefined; readonly failure: Failure | undefined };
const nothing: ProbeEvidence = { good: undefined, failure: undefined };

export class StatusCache {
  readonly #clock: Pick<Clock, 'nowMs' | 'wallMs'>;
  readonly #limits: VerdictLimits;
  #published: Published | undefined;
  #metadata: ProbeEvidence = nothing;
  #deep: ProbeEvidence = nothing;
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

  /** Whether the active key's latest deep probe succeeded. */
  get isDeepGood(): boolean {
    return this.#deep.good !== undefined && this.#deep.failure === undefined;
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
   * @param isDeepProven  the new active key has just passed its own deep probe
   */
  publish(state: RegistryState, startedAt: Reading, isDeepProven = false): void {
    const next = publishedOf(state);
    const isActiveChanged = next.active.kubernetesKeyId !== this.#published?.active.kubernetesKeyId;
    this.#published = next;
    this.#metadata = { good: startAge(this.#clock, startedAt), failure: undefined };
    this.#isPersistenceDegraded = false;
    if (isActiveChanged)
      this.#deep = isDeepProven ? { good: startAge(this.#clock, startedAt), failure: undefined } : nothing;
  }

  /** The published state was confirmed although bookkeeping could not be saved (registry-state 6.3). */
  confirmUnsaved(startedAt: Reading): void {
    this.#metadata = { good: startAge(this.#clock, startedAt), failure: undefined };
    this.#isPersistenceDegraded = true;
  }

  metadataFailed(failure: Failure): void {
    this.#metadata = { good: this.#metadata.good, failure };
  }

  deepPassed(keyId: string, startedAt: Reading): void {
    if (keyId !== this.#published?.active.kubernetesKeyId) return;
    this.#deep = { good: startAge(this.#clock, startedAt), failure: undefined };
  }

  deepFailed(failure: Failure): void {
    this.#deep = { good: this.#deep.good, failure };
  }

  verdict(): Verdict {
    return judge(
      {
        state: this.#published?.state,
        metadata: { goodAgeMs: this.#metadata.good?.ageMs(), failure: this.#metadata.failure },
        deep: { goodAgeMs: this.#deep.good?.ageMs(), failure: this.#deep.failure },
        isPersistenceDegraded: this.#isPersistenceDegraded,
        isSocketLost: this.isSocketLost,
        isRuntimeDirectoryGone: this.directoriesGone.includes('runtime'),
        isShuttingDown: this.isShuttingDown,
      },
      this.#limits,
    );
  }
}

function publishedOf(state: RegistryState): Published {
  const usable = state.snapshots.filter(
    ({ state: kind }) => kind === 'active' || kind === 'pending' || kind === 'retired',
  );
  const registry = new Map(usable.map((snapshot) => [snapshot.kubernetesKeyId, snapshot]));
  return { state, active: activeSnapshot(state), registry };
}
