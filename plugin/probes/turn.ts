// One probe of any kind at a time. Waiting ends with the waiter's own signal.

import { untilAborted } from '../../shared/time/deadline.ts';

export class ProbeTurn {
  #tail: Promise<void> = Promise.resolve();

  /**
   * Runs alone.
   *
   * @throws the signal's reason when it ends before the turn came; `run` is not called then
   */
  async take<T>(run: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const before = this.#tail;
    let leave = () => {};
    this.#tail = new Promise<void>((resolve) => {
      leave = () => void before.then(resolve);
    });
    try {
      await untilAborted(before, signal);
      return await run();
    } finally {
      leave();
    }
  }
}
