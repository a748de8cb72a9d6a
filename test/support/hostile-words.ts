// What a hostile plugin tells a test. The supervisor takes nothing from it for an event of the log that none is, so it stands there as
// the text that a plugin wrote.

import type { LogLine } from './provider.ts';

export type TrialTold = { readonly trial: string; readonly outcome: string };

/** A line of the plugin's standard error. */
export const trialLine = (told: TrialTold): string => `${JSON.stringify(told)}\n`;

/** What a line of the provider's log says of a trial, if it does. */
export function trialIn({ message, process, output }: LogLine): TrialTold | undefined {
  if (message !== 'plugin.output' || process !== 'supervisor' || !String(output).startsWith('{"trial":'))
    return undefined;
  return JSON.parse(String(output)) as TrialTold;
}

export const trialsIn = (log: readonly LogLine[]): TrialTold[] => log.flatMap((line) => trialIn(line) ?? []);

/** Whether a line tells of this trial. */
export const tellsOf = (trial: string) => (line: LogLine) => trialIn(line)?.trial === trial;
