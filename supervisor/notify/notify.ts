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
  /** At most one line a second is sent, always the newest. */
  readonly status: (line: string) => void;
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
/** systemd takes datagrams of 4096 bytes and cuts a longer line without a word (seen on 252 and 257); half is enough to read. */
const greatestStatusBytes = 2_048;

export function createNotifier(deps: NotifyDeps): Notifier {
  let queue: Promise<void> = Promise.resolve();
  let wanted: string | undefined;
  let last: string | undefined;
  let isWaiting = false;
  let isOver = false;
  const say = (...assignments: string[]) => {
    const { send } = deps;
    if (send !== undefined) queue = queue.then(() => send(assignments));
  };
  const flush = () => {
    isWaiting = false;
    if (isOver || wanted === undefined || wanted === last) return;
    last = wanted;
    isWaiting = true;
    say(`STATUS=${wanted}`);
    deps.clock.after(statusIntervalMs, flush);
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
      wanted = fitted(line);
      if (!isWaiting && !isOver) flush();
    },
    lastWord: (line) => {
      isOver = true;
      last = wanted = fitted(line);
      say(`STATUS=${wanted}`);
      return queue;
    },
    idle: () => queue,
  };
}

/** One line of printable ASCII; what is too long loses its end, so the cause stands first. */
function fitted(line: string): string {
  const printable = line.replace(/[^\x20-\x7e]/gu, ' ');
  return printable.length <= greatestStatusBytes ? printable : `${printable.slice(0, greatestStatusBytes - 3)}...`;
}
