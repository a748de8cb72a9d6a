// Tells systemd: READY once, one true STATUS line, WATCHDOG while this process turns, RELOADING, STOPPING. Through the helper
// systemd-notify, one at a time and waited for: an unprivileged service cannot speak under its main process id otherwise.

import type { Clock } from '../../shared/time/clock.ts';

export type NotifyDeps = {
  readonly clock: Pick<Clock, 'nowMs' | 'after'>;
  /** Runs systemd-notify with these assignments; never throws. Undefined when systemd does not listen. */
  readonly send: ((assignments: readonly string[]) => Promise<void>) | undefined;
  /** From WATCHDOG_USEC, milliseconds; undefined when there is no watchdog. */
  readonly watchdogMs: number | undefined;
};

export type Notifier = {
  readonly ready: () => void;
  readonly reloading: (monotonicUs: number) => void;
  readonly stopping: () => void;
  /**
   * At most one line a second is sent, always the newest. The line tells ages, so it is made anew and sent again every 10 s if
   * it then reads differently.
   */
  readonly status: (line: () => string) => void;
  /**
   * The last status line of this process, at once: it stays until the next start. Later ones are not sent.
   *
   * Resolves when systemd has read it; a helper that has ended before its message was read could not be told whose it was.
   */
  readonly lastWord: (line: string) => Promise<void>;
  /** Resolves when everything was said. */
  readonly idle: () => Promise<void>;
};

const statusIntervalMs = 1_000;
const refreshIntervalMs = 10_000;
/** systemd takes datagrams of 4096 bytes and cuts a longer line without a word (seen on 252 and 257); half is enough to read. */
const maxStatusBytes = 2_048;

export function createNotifier(deps: NotifyDeps): Notifier {
  let queue: Promise<void> = Promise.resolve();
  let wanted: (() => string) | undefined;
  let last: string | undefined;
  let isWaiting = false;
  let isNew = false;
  let isRefreshing = false;
  let isOver = false;
  const say = (...assignments: string[]) => {
    const { send } = deps;
    if (send !== undefined) queue = queue.then(() => send(assignments));
  };
  const flush = () => {
    isNew = false;
    const line = wanted === undefined ? undefined : fitted(wanted());
    if (isOver || line === undefined || line === last) return;
    last = line;
    isWaiting = true;
    say(`STATUS=${line}`);
    deps.clock.after(statusIntervalMs, () => {
      isWaiting = false;
      if (isNew) flush();
    });
  };
  const refresh = () => {
    if (!isWaiting) flush();
    deps.clock.after(refreshIntervalMs, refresh);
  };
  if (deps.watchdogMs !== undefined) {
    const everyMs = deps.watchdogMs / 3;
    const beat = () => {
      say('WATCHDOG=1');
      deps.clock.after(everyMs, beat);
    };
    beat();
  }
  return {
    ready: () => say('READY=1'),
    reloading: (monotonicUs) => say('RELOADING=1', `MONOTONIC_USEC=${monotonicUs}`),
    stopping: () => say('STOPPING=1'),
    status: (line) => {
      wanted = line;
      isNew = true;
      if (!isWaiting) flush();
      if (isRefreshing || deps.send === undefined) return;
      isRefreshing = true;
      deps.clock.after(refreshIntervalMs, refresh);
    },
    lastWord: (line) => {
      isOver = true;
      say(`STATUS=${fitted(line)}`);
      return queue;
    },
    idle: () => queue,
  };
}

/** One line of printable ASCII; what is too long loses its end, so the cause stands first. */
function fitted(line: string): string {
  const printable = line.replace(/[^\x20-\x7e]/gu, ' ');
  return printable.length <= maxStatusBytes ? printable : `${printable.slice(0, maxStatusBytes - 3)}...`;
}
