// Whether this process ends so that a new one takes its place: for a directory that is gone for it and may be there for a new
// start. Only where a service manager starts it again, and while a plugin serves at most once in 10 minutes.

import type { DirectoryName } from '../../shared/channel/messages.ts';
import type { Log } from '../../shared/log/fields.ts';
import type { Clock } from '../../shared/time/clock.ts';
import type { DirectoryFindings } from '../custody/directory-watch.ts';

/** Between two such ends, milliseconds. */
export const departureSpacingMs = 600_000;
/** A path that shows nothing may show a new directory at the next look. */
const missingMs = 10_000;

export type DepartureFacts = {
  readonly findings: DirectoryFindings;
  /** For how long each has been gone, milliseconds; 0 at the look that found it. */
  readonly goneMs: Readonly<Record<DirectoryName, number>>;
  /** A state waits to be saved, or a start waits for its state. */
  readonly isSaveDue: boolean;
  /** Whether the plugin has a credential that goes on long enough. */
  readonly isCredentialGood: boolean;
};

/** What is told of an end, or of one that is postponed. */
export const departureReasons = {
  runtime: 'runtime_directory_gone',
  credentials: 'credentials_directory_gone',
  state: 'state_directory_gone',
} as const satisfies Record<DirectoryName, string>;

/** Which directory a new start is needed for now; undefined: none. */
export function whyDepart(facts: DepartureFacts): DirectoryName | undefined {
  const isLost = (name: DirectoryName) => {
    const finding = facts.findings[name];
    if (finding === 'missing') return facts.goneMs[name] >= missingMs;
    // A new runtime directory is pinned and bound without an end, credentials are read by their path.
    return finding === 'stale' || (finding === 'replaced' && name === 'state');
  };
  if (isLost('runtime')) return 'runtime';
  if (isLost('state') && facts.isSaveDue) return 'state';
  if (isLost('credentials') && !facts.isCredentialGood) return 'credentials';
  return undefined;
}

export type DepartureDeps = {
  readonly clock: Pick<Clock, 'nowMs' | 'wallMs'>;
  readonly log: Log;
  /** Somebody starts us again. */
  readonly isUnderServiceManager: boolean;
  readonly isCredentialGood: () => boolean;
  /** There is a plugin, so that an end takes something away. */
  readonly isServing: () => boolean;
  /** When a process before this one ended so, Unix milliseconds; undefined: unknown. */
  readonly lastAtUnixMs: () => number | undefined;
  /** Notes the end for the process after this one. @returns whether it could */
  readonly note: (atUnixMs: number) => boolean;
  /** Drain and end. */
  readonly depart: (name: DirectoryName) => void;
};

export type Departure = {
  readonly looked: (findings: DirectoryFindings) => void;
  /** A save, or a start, needs the state directory. */
  readonly saveDue: () => void;
};

export function createDeparture(deps: DepartureDeps): Departure {
  return new DepartureWatch(deps);
}

class DepartureWatch implements Departure {
  readonly #deps: DepartureDeps;
  readonly #startedAtMs: number;
  readonly #goneSinceMs = new Map<DirectoryName, number>();
  #findings: DirectoryFindings = { runtime: 'here', credentials: 'here', state: 'here' };
  #isSaveDue = false;
  #postponed: DirectoryName | undefined;
  #isDeparting = false;

  constructor(deps: DepartureDeps) {
    this.#deps = deps;
    this.#startedAtMs = deps.clock.nowMs();
  }

  looked = (findings: DirectoryFindings): void => {
    this.#findings = findings;
    for (const name of ['runtime', 'credentials', 'state'] as const) this.#noteGone(name);
    if (findings.state === 'here') this.#isSaveDue = false;
    this.#decide();
  };

  saveDue = (): void => {
    this.#isSaveDue = this.#findings.state !== 'here';
    this.#decide();
  };

  #noteGone(name: DirectoryName): void {
    if (this.#findings[name] === 'here') this.#goneSinceMs.delete(name);
    else if (!this.#goneSinceMs.has(name)) this.#goneSinceMs.set(name, this.#deps.clock.nowMs());
  }

  #decide(): void {
    const { isUnderServiceManager, clock } = this.#deps;
    if (!isUnderServiceManager || this.#isDeparting) return;
    const goneMs = (name: DirectoryName) => clock.nowMs() - (this.#goneSinceMs.get(name) ?? clock.nowMs());
    const name = whyDepart({
      findings: this.#findings,
      goneMs: { runtime: goneMs('runtime'), credentials: goneMs('credentials'), state: goneMs('state') },
      isSaveDue: this.#isSaveDue,
      isCredentialGood: this.#deps.isCredentialGood(),
    });
    if (name !== undefined) this.#departOrWait(name);
    else this.#postponed = undefined;
  }

  #departOrWait(name: DirectoryName): void {
    const { log, clock, note, depart } = this.#deps;
    const reason = departureReasons[name];
    const waitMs = this.#deps.isServing() ? this.#waitMs() : 0;
    const isNoted = waitMs <= 0 && note(clock.wallMs());
    // Where the end cannot be noted, the life of this process has to keep the next one away.
    const remainingMs = isNoted || waitMs > 0 || !this.#deps.isServing() ? waitMs : this.#youthMs();
    if (remainingMs <= 0) {
      this.#isDeparting = true;
      log('error', 'serve.departing', { reason, hint: 'the service manager starts the provider anew' });
      return depart(name);
    }
    if (this.#postponed === name) return;
    this.#postponed = name;
    const hint = 'the provider ended for a lost directory less than 10 minutes ago';
    log('warn', 'serve.departure_postponed', { reason, next_try_ms: Math.ceil(remainingMs), hint });
  }

  /** Until the next such end is allowed, as far as the last one is known. */
  #waitMs(): number {
    const lastAtUnixMs = this.#deps.lastAtUnixMs();
    const sinceMs = lastAtUnixMs === undefined ? -1 : this.#deps.clock.wallMs() - lastAtUnixMs;
    // An end in the future was noted by another clock.
    if (sinceMs < 0) return 0;
    return Math.max(0, Math.min(departureSpacingMs - sinceMs, this.#youthMs()));
  }

  /** Until this process itself is old enough for no end before it to count. */
  #youthMs(): number {
    return Math.max(0, departureSpacingMs - (this.#deps.clock.nowMs() - this.#startedAtMs));
  }
}
