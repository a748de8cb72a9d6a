// State and checkpoint on disk: judged at every start, written by nobody else. State first, then checkpoint; each through a
// temporary file, synced, renamed, directory synced. A save that failed can be finished by the very same bytes only.

import { ProviderError } from '../../shared/errors/error.ts';
import { checkBelief, isClockBehind } from '../../shared/registry/belief.ts';
import {
  type Checkpoint,
  checkpointOf,
  encodeCheckpoint,
  maxCheckpointBytes,
  parseCheckpoint,
} from '../../shared/registry/checkpoint.ts';
import type { BoundIdentity } from '../../shared/registry/fingerprint.ts';
import { checkBinding, judgePair, type PairVerdict } from '../../shared/registry/pair.ts';
import { encodeState, maxStateBytes, parseState, type RegistryState } from '../../shared/registry/state.ts';
import { checkPromotion, checkSuccessor, stableKeyId } from '../../shared/registry/successor.ts';
import type { StateFiles } from './state-files.ts';

export type StateStoreOptions = {
  readonly files: StateFiles;
  /** Base name of the state file; the checkpoint has `.checkpoint` behind it. */
  readonly name: string;
  readonly identity: BoundIdentity;
  readonly requireCheckpoint: boolean;
  readonly activationDelayMs: number;
  readonly nowMs: () => number;
  /** The clock of this node, Unix seconds. */
  readonly nowUnix: () => number;
  readonly randomHex: (sizeBytes: number) => string;
};

export type OnDisk = 'predecessor' | 'attempted' | 'other' | 'unreadable';
export type CommitResult =
  | { readonly outcome: 'saved'; readonly onDisk: 'attempted' }
  | { readonly outcome: 'failed'; readonly onDisk: OnDisk };

export class StateStore {
  #options: StateStoreOptions;
  #current: RegistryState | undefined;
  #attempted: RegistryState | undefined;
  #checkpoint: Checkpoint | undefined;
  #stable: { readonly keyId: string; readonly sinceMs: number } | undefined;
  #saving: Promise<unknown> = Promise.resolve();
  #isClockBehind = false;
  /** The file system was full when the checkpoint of the state on disk was due: it is written before the next state. */
  #isCheckpointOwed = false;

  constructor(options: StateStoreOptions) {
    this.#options = options;
  }

  /** The state that is on disk and was accepted; undefined before the first. */
  get current(): RegistryState | undefined {
    return this.#current;
  }

  /** The checkpoint that the last load found. */
  get checkpoint(): Checkpoint | undefined {
    return this.#checkpoint;
  }

  /** For how long the record that waits for activation has been known stable. */
  get stable(): { readonly keyId: string; readonly elapsedMs: number } | undefined {
    if (this.#stable === undefined) return undefined;
    return { keyId: this.#stable.keyId, elapsedMs: this.#options.nowMs() - this.#stable.sinceMs };
  }

  /** Whether the times of the last proposal could not be judged, because the clock of this node was set back. */
  get isClockBehind(): boolean {
    return this.#isClockBehind;
  }

  /** Takes the settings of a configuration that was read again. */
  configure(settings: Pick<StateStoreOptions, 'requireCheckpoint' | 'activationDelayMs'>): void {
    this.#options = { ...this.#options, ...settings };
  }

  /** Resolves when no save is running, not even one that was asked for while we waited. */
  async idle(): Promise<void> {
    for (let seen: unknown; seen !== this.#saving; ) {
      seen = this.#saving;
      await this.#saving;
    }
  }

  /**
   * Reads and judges the pair and its identity; writes nothing.
   *
   * @throws ProviderError `state_corrupt`, `state_permission`, `state_rollback`, `state_binding`, `directory_unsafe`
   */
  async load(): Promise<PairVerdict> {
    const { verdict, checkpoint } = await this.#readPair();
    this.#checkpoint = checkpoint;
    if (verdict.kind === 'accepted') checkBinding(verdict.state, this.#options.identity);
    const found = verdict.kind === 'accepted' ? verdict.state : undefined;
    if (found?.currentHash !== this.#attempted?.currentHash) this.#attempted = undefined;
    this.#current = found;
    this.#isCheckpointOwed = verdict.kind === 'accepted' && verdict.writeCheckpoint !== 'no';
    this.#noteStable(found);
    return verdict;
  }

  /**
   * Writes the checkpoint that a load found missing or behind, and sweeps left-over temporary files. On a full file system it stays owed:
   * the pair is accepted as it is, and what can be decrypted is more urgent.
   *
   * @returns whether the pair is complete
   * @throws ProviderError `state_save_failed` for every other cause
   */
  async complete(verdict: PairVerdict): Promise<boolean> {
    for (const name of this.#options.files.list()) if (this.#isTemporary(name)) await this.#options.files.remove(name);
    if (verdict.kind !== 'accepted' || verdict.writeCheckpoint === 'no') return true;
    try {
      await this.#saveCheckpoint(verdict.state);
      return true;
    } catch (error) {
      if (isFileSystemFull(error)) return false; // control: state-store.full
      throw error;
    }
  }

  /**
   * Reads the pair again and completes it, before a relaunch: alone, so that no save is seen half way or loses its file.
   *
   * @throws ProviderError as `load` and `complete`
   */
  refresh(): Promise<PairVerdict> {
    const run = this.#saving.then(async () => {
      const verdict = await this.load();
      await this.complete(verdict);
      return verdict;
    });
    this.#saving = run.catch(() => undefined);
    return run;
  }

  /**
   * Decides about a proposed state and writes it.
   *
   * @throws ProviderError `state_corrupt`, `state_rollback`, `state_binding`: the proposal is illegal, nothing was written
   */
  commit(text: string): Promise<CommitResult> {
    const run = this.#saving.then(() => this.#commitAlone(text));
    this.#saving = run.catch(() => undefined);
    return run;
  }

  /**
   * Writes the result of an operator's retirement or restoration, which is no legal successor for a plugin. The caller has
   * computed it from `current` and holds the lock.
   *
   * @throws ProviderError `state_rollback`, `state_binding`: it does not follow what is on disk; nothing was written
   */
  async saveTransition(next: RegistryState): Promise<CommitResult> {
    checkBinding(next, this.#options.identity);
    const before = this.#current;
    const isNext = before !== undefined && next.generation === before.generation + 1;
    if (!isNext || next.previousHash !== before.currentHash) {
      throw new ProviderError('state_rollback', 'the transition does not follow the state on disk');
    }
    return this.#write(next);
  }

  async #commitAlone(text: string): Promise<CommitResult> {
    const next = parseState(text);
    // One encoding: what was checked is what is written, byte by byte.
    // control: state.encoding
    if (encodeState(next) !== text)
      throw new ProviderError('state_corrupt', 'the proposed state is not encoded as a file');
    checkBinding(next, this.#options.identity);
    // A save that failed late may be on disk already, and a gate in between may have accepted it: saved again, completely.
    const isThere = this.#current?.currentHash === next.currentHash;
    const isAgain = isThere || this.#attempted?.currentHash === next.currentHash;
    if (!isThere) {
      checkSuccessor(this.#current, next);
      checkPromotion(this.#current, next, this.stable, this.#options.activationDelayMs);
      const nowUnix = this.#options.nowUnix();
      this.#isClockBehind = isClockBehind(this.#current, nowUnix);
      checkBelief(this.#current, next, nowUnix); // control: state.belief
    }
    return this.#write(next, isAgain);
  }

  async #write(next: RegistryState, isAgain = false): Promise<CommitResult> {
    this.#attempted = next;
    try {
      if (isAgain) await this.#checkRecovery(next);
      // A state two generations ahead of its checkpoint would be refused for ever.
      // control: state-store.owed-first
      if (this.#isCheckpointOwed && this.#current !== undefined) await this.#saveCheckpoint(this.#current);
      await this.#saveText(this.#options.name, encodeState(next)); // step: state.save
      await this.#saveCheckpoint(next);
    } catch {
      return { outcome: 'failed', onDisk: await this.#whatIsOnDisk(next) };
    }
    this.#current = next;
    this.#attempted = undefined;
    this.#noteStable(next); // step: state.stable
    return { outcome: 'saved', onDisk: 'attempted' };
  }

  /** Both files must still be the predecessor or the attempted state (spec/state 4.2). */
  async #checkRecovery(attempted: RegistryState): Promise<void> {
    const allowed = [attempted.currentHash, this.#current?.currentHash];
    const { verdict } = await this.#readPair();
    const isKnown =
      verdict.kind === 'absent' ? this.#current === undefined : allowed.includes(verdict.state.currentHash);
    if (!isKnown) throw new ProviderError('state_rollback', 'the files changed since the failed save');
  }

  async #readPair(): Promise<{ readonly verdict: PairVerdict; readonly checkpoint: Checkpoint | undefined }> {
    const { files, name, requireCheckpoint } = this.#options;
    await files.checkDirectory();
    const checkpointText = await files.read(checkpointName(name), maxCheckpointBytes);
    const checkpoint = checkpointText === undefined ? undefined : parseCheckpoint(checkpointText);
    const stateText = await files.read(name, maxStateBytes);
    const state = stateText === undefined ? undefined : parseState(stateText);
    return { verdict: judgePair(checkpoint, state, requireCheckpoint), checkpoint };
  }

  async #whatIsOnDisk(attempted: RegistryState): Promise<OnDisk> {
    try {
      const { verdict } = await this.#readPair();
      const hash = verdict.kind === 'accepted' ? verdict.state.currentHash : undefined;
      if (hash === attempted.currentHash) return 'attempted';
      const isUntouched = verdict.kind === 'absent' || verdict.writeCheckpoint === 'no' || this.#isCheckpointOwed;
      return hash === this.#current?.currentHash && isUntouched ? 'predecessor' : 'other';
    } catch {
      return 'unreadable';
    }
  }

  async #saveCheckpoint(state: RegistryState): Promise<void> {
    try {
      await this.#saveText(checkpointName(this.#options.name), encodeCheckpoint(checkpointOf(state)));
      this.#isCheckpointOwed = false;
    } catch (cause) {
      throw new ProviderError(
        'state_save_failed',
        'the checkpoint cannot be written; is the state directory writable?',
        {
          cause,
        },
      );
    }
  }

  async #saveText(name: string, text: string): Promise<void> {
    const { files, randomHex } = this.#options;
    await files.checkDirectory();
    await files.checkTarget(name);
    const temporaryName = `.${name}.${randomHex(4)}.tmp`;
    try {
      const file = await files.create(temporaryName);
      try {
        await file.write(text); // step: state.write
        await file.chmod();
        await file.sync(); // step: state.sync
      } finally {
        await file.close();
      }
      await files.checkDirectory(); // control: state.directory-before-rename
      await files.rename(temporaryName, name); // step: state.rename
    } catch (error) {
      await files.remove(temporaryName).catch(() => undefined);
      throw error;
    }
    await files.syncDirectory(); // step: state.sync-directory
  }

  #isTemporary(name: string): boolean {
    const { name: state } = this.#options;
    const bases = [state, checkpointName(state)];
    return bases.some(
      (base) => name.startsWith(`.${base}.`) && /^(?:[0-9a-f]{8}\.)?tmp$/u.test(name.slice(base.length + 2)),
    );
  }

  #noteStable(state: RegistryState | undefined): void {
    const keyId = stableKeyId(state);
    if (keyId === undefined) this.#stable = undefined;
    else if (keyId !== this.#stable?.keyId) this.#stable = { keyId, sinceMs: this.#options.nowMs() };
  }
}

function checkpointName(name: string): string {
  return `${name}.checkpoint`;
}

function isFileSystemFull(error: unknown): boolean {
  const cause = error instanceof Error ? error.cause : undefined;
  // control: state-store.full-codes
  return cause instanceof Error && 'code' in cause && (cause.code === 'ENOSPC' || cause.code === 'EDQUOT');
}
