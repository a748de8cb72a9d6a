// A count of running calls with a limit and no queue.

import { ProviderError } from '../../shared/errors/error.ts';

export class Limiter {
  readonly #limit: number;
  #running = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get running(): number {
    return this.#running;
  }

  /**
   * Takes a slot without waiting.
   *
   * @returns gives the slot back; to be called exactly once
   * @throws ProviderError `concurrency_limit`
   */
  take(): () => void {
    if (this.#running >= this.#limit) {
      throw new ProviderError('concurrency_limit', 'kms request concurrency limit reached');
    }
    this.#running += 1;
    return () => {
      this.#running -= 1;
    };
  }
}
