// Watches directories, not files: renames and swapped links show only there. Waits until it is quiet, but not for ever.

import { watch } from 'chokidar';
import type { Cancel, Clock } from '../../shared/time/clock.ts';

const quietMs = 250;
const maxWaitMs = 2_000;

/**
 * Calls `changed` once it has been quiet for 250 ms after an event, at the latest 2 s after the first one.
 *
 * @param clock  of the caller, so that tests can move it
 */
export function createQuietPeriod(clock: Pick<Clock, 'nowMs' | 'after'>, changed: () => void): () => void {
  let firstAtMs: number | undefined;
  let cancel: Cancel = () => {};
  return () => {
    const nowMs = clock.nowMs();
    firstAtMs ??= nowMs;
    cancel();
    cancel = clock.after(Math.max(0, Math.min(quietMs, firstAtMs + maxWaitMs - nowMs)), () => {
      firstAtMs = undefined;
      changed();
    });
  };
}

/** Starts to watch; an error of the watcher is no error of ours, because everything is looked at every 10 s as well. */
export function watchDirectories(directories: readonly string[], event: () => void): Cancel {
  const watcher = watch([...directories], { depth: 0, ignoreInitial: true, followSymlinks: true });
  watcher.on('all', event);
  watcher.on('error', () => {});
  return () => void watcher.close();
}
