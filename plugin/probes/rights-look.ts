// When our rights are looked at: with every second metadata probe that succeeds, after each denial, and after every probe while a
// right is missing without which there is no service. No answer is no news but where a later deep probe has proven the right.

import type { StatusCache } from '../health/status-cache.ts';
import { isFatal, type RightFinding } from '../keys/rights.ts';
import { isDenial } from './probe-failure.ts';

export type RightsLookDeps = {
  readonly cache: Pick<StatusCache, 'rightFindings' | 'rightsSeen' | 'rightsUnanswered'>;
  readonly read: (signal: AbortSignal) => Promise<readonly RightFinding[]>;
  readonly record: (findings: readonly RightFinding[], error?: unknown) => void;
};

const probesPerLook = 2;

export class RightsLook {
  readonly #deps: RightsLookDeps;
  #goodMetadataProbes = 0;
  #isWanted = false;

  constructor(deps: RightsLookDeps) {
    this.#deps = deps;
  }

  /** Something was denied. */
  want(): void {
    this.#isWanted = true;
  }

  /** A metadata probe succeeded; the first one is followed by a look. */
  metadataRead(): void {
    this.#isWanted ||= this.#goodMetadataProbes % probesPerLook === 0;
    this.#goodMetadataProbes += 1;
  }

  /** Whether Encrypt or Decrypt lacks its right, as far as is known. */
  get isMissing(): boolean {
    return this.#deps.cache.rightFindings.some(isFatal);
  }

  /** For a caller that holds the turn. Never throws. */
  async look(signal: AbortSignal): Promise<void> {
    const { cache, read, record } = this.#deps;
    if (signal.aborted || !(this.#isWanted || this.isMissing)) return;
    this.#isWanted = false;
    try {
      cache.rightsSeen(await read(signal));
      record(cache.rightFindings);
    } catch (error) {
      if (signal.aborted) return;
      cache.rightsUnanswered(isDenial(error));
      record(cache.rightFindings, error);
    }
  }
}
