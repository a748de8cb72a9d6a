// The end of a process that did not do what it was started for: systemd shows why, also between this start and the next.

import type { Clock } from '../../shared/time/clock.ts';
import type { Notifier } from './notify.ts';

/** A new start clears the line. Long enough to be seen, and no loop of four starts a second where systemd knows no other way. */
export const holdMs = 5_000;

export type LastWordDeps = {
  readonly clock: Pick<Clock, 'after'>;
  readonly notifier: Pick<Notifier, 'lastWord'>;
  /** Whether there is a systemd that shows the line and starts us again. */
  readonly isShown: boolean;
  /** Resolves when somebody asked to stop. */
  readonly stopAsked: Promise<void>;
};

/** Says the line and resolves when it has been read; after a refused start not before 5 s, unless it is stopped. */
export async function sayLastWord(deps: LastWordDeps, line: string, isRefused: boolean): Promise<void> {
  await deps.notifier.lastWord(line);
  if (!isRefused || !deps.isShown) return; // control: last-word.refused
  await new Promise<void>((resolve) => {
    const cancel = deps.clock.after(holdMs, resolve);
    void deps.stopAsked.then(() => {
      cancel();
      resolve();
    });
  });
}
