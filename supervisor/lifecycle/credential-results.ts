// Which words of a plugin about its credentials are told and counted: those about what it was sent, and no more often than one that is
// honest has to say something. They are its words all the same.

import type { PluginMessage } from '../../shared/channel/messages.ts';
import type { Log } from '../../shared/log/fields.ts';
import type { Clock } from '../../shared/time/clock.ts';
import { createSpacing } from '../../shared/time/spacing.ts';
import type { Running } from '../launch/running.ts';

export type CredentialResult = Extract<PluginMessage, { kind: 'credential_result' }>;

/** A plugin says of six credentials how each of its trials went; trials are seconds apart. */
const maxTrialsPerMinute = 30;
const windowMs = 60_000;
const droppedHint =
  'the plugin reports on its credentials more often than an honest plugin needs to; further reports are not logged';

export class CredentialResults {
  readonly #clock: Pick<Clock, 'nowMs'>;
  readonly #log: Log;
  readonly #mayTellDropped: () => boolean;
  /** When the trials that were told of late came. */
  #toldAtMs: number[] = [];
  #dropped = 0;

  constructor(clock: Pick<Clock, 'nowMs'>, log: Log) {
    this.#clock = clock;
    this.#log = log;
    this.#mayTellDropped = createSpacing(clock, windowMs);
  }

  /** Another plugin is the incumbent: it is heard, whatever the one before it said. */
  renew(): void {
    this.#toldAtMs = [];
  }

  /** Notes what came into use. @returns whether the word is told */
  take(from: Running, { name, generation, result }: CredentialResult): boolean {
    if (generation > (from.sent.get(name) ?? 0)) return false; // control: credential.result-sent
    if (result === 'in_use') {
      // Each generation comes into use once.
      if (generation <= (from.inUse.get(name) ?? 0)) return this.#drop();
      from.inUse.set(name, generation);
      return true;
    }
    const nowMs = this.#clock.nowMs();
    this.#toldAtMs = this.#toldAtMs.filter((atMs) => atMs > nowMs - windowMs);
    if (this.#toldAtMs.length >= maxTrialsPerMinute) return this.#drop(); // control: credential.result-rate
    this.#toldAtMs.push(nowMs);
    return true;
  }

  #drop(): false {
    this.#dropped += 1;
    if (!this.#mayTellDropped()) return false;
    this.#log('warn', 'plugin.output_dropped', { suppressed: this.#dropped, hint: droppedHint });
    this.#dropped = 0;
    return false;
  }
}
