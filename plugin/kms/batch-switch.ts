// Whether Decrypts that wait may leave together. A server that refuses what is asked together (an older one, a policy on parameters,
// a limit of bytes or of requests) is not asked so again and again (spec/kms 4.4).

import type { Clock } from '../../shared/time/clock.ts';

/** Refusals one after the other until Decrypts go alone. */
const maxRefusals = 2;
/** How long they go alone then, milliseconds. */
const offMs = 300_000;

export class BatchSwitch {
  readonly #clock: Pick<Clock, 'nowMs'>;
  readonly #switchedOff: () => void;
  #refusals = 0;
  #offUntilMs = Number.NEGATIVE_INFINITY;

  /** @param switchedOff  hears each time that batches are switched off */
  constructor(clock: Pick<Clock, 'nowMs'>, switchedOff: () => void) {
    this.#clock = clock;
    this.#switchedOff = switchedOff;
  }

  isOn(): boolean {
    return this.#clock.nowMs() >= this.#offUntilMs;
  }

  accepted(): void {
    this.#refusals = 0;
  }

  /** A batch was refused as a whole. */
  refused(): void {
    this.#refusals += 1;
    if (this.#refusals < maxRefusals || !this.isOn()) return;
    this.#refusals = 0;
    this.#offUntilMs = this.#clock.nowMs() + offMs; // control: batch.off
    this.#switchedOff();
  }
}
