// With which code the program ends, and what it means: the one list that policies, refusals, help and docs/cli.md read.

export const exitCodes = {
  success: 0,
  unexpected: 1,
  usage: 2,
  configuration: 3,
  checkFailed: 4,
  runtime: 5,
  directoryLost: 6,
} as const;

export type ExitName = keyof typeof exitCodes;
export type ExitCode = (typeof exitCodes)[ExitName];

export const exitMeanings: Readonly<Record<ExitName, string>> = {
  success: 'success',
  unexpected: 'unexpected error',
  usage: 'usage',
  configuration: 'configuration or credentials',
  checkFailed: 'a check failed',
  runtime: 'runtime',
  directoryLost:
    'a directory was removed or replaced, and only a new start can use the new one (serve under a service manager)',
};
