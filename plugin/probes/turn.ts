// One probe of any kind at a time. Waiting ends with the waiter's own signal.

export class ProbeGate {
  #tail: Promise<void> = Promise.resolve();

  /**
   * Runs alone.
   *
   * @throws the signal's reason when it ends before the turn came; `run` is not called then
   */
  async pass<T>(run: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const before = this.#tail;
    let leave = () => {};
    this.#tail = new Promise<void>((resolve) => {
      leave = () => void before.then(resolve);
    });
    try {
      await untilOrAborted(before, signal);
      return await run();
    } finally {
      leave();
    }
  }
}

/** Waits for a promise that never rejects, or throws the signal's reason, whichever comes first. */
export async function untilOrAborted(done: Promise<unknown>, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) {
    await done;
    return;
  }
  signal.throwIfAborted();
  let leave = () => {};
  const aborted = new Promise<never>((_, reject) => {
    leave = () => reject(signal.reason);
    signal.addEventListener('abort', leave, { once: true });
  });
  try {
    await Promise.race([done, aborted]);
  } finally {
    signal.removeEventListener('abort', leave);
  }
}
